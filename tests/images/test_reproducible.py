"""The CPU image twice from one lock, nothing cached: one digest. Minutes, so it is marked slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from lab.checkout import Checkout, checkout

PREFIX = "heteropd-test-twice"
IMAGE = f"{PREFIX}/cpu:standin-base"


@pytest.fixture
def client(engine: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=engine, timeout=600)
    yield client
    for image in client.images.list(name=f"{PREFIX}/cpu"):
        for tag in image.tags:
            client.images.remove(tag, force=True)
    client.close()


@pytest.fixture
def kit(tmp_path: Path) -> Checkout:
    return checkout(tmp_path / "kit", PREFIX)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_builds_from_one_lock_are_one_image(
    kit: Checkout, client: docker.DockerClient, bases: tuple[str, str]
) -> None:
    found = []
    for _ in range(2):
        kit.heteropd("build", "cpu", f"base={bases[0]}", "no_cache=1")
        image = client.images.get(IMAGE)
        found.append((image.attrs["RootFS"]["Layers"], image.id))
    assert found[0][0] == found[1][0], "layers"
    assert found[0][1] == found[1][1], "configuration and manifest"
