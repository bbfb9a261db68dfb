"""The CPU image twice from one lock: one digest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from lab.checkout import Checkout, checkout
from lab.kit import ROOT

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
    images: dict[str, str], kit: Checkout, client: docker.DockerClient, bases: tuple[str, str]
) -> None:
    """The build that all image tests use, and one in another checkout that takes nothing from its cache."""
    kit.heteropd("build", "cpu", f"base={bases[0]}", "no_cache=1")
    first, second = client.images.get(images["cpu"]), client.images.get(IMAGE)
    assert first.attrs["RootFS"]["Layers"] == second.attrs["RootFS"]["Layers"], "layers"
    assert first.attrs["Config"] == second.attrs["Config"], "configuration"
    # The index differs: what BuildKit testifies has times in it. The manifest of the image itself does not.
    manifests = [exported((root / ".heteropd/logs/build.log").read_text()) for root in (ROOT, kit.root)]
    assert manifests[0] == manifests[1], "manifest: compressed layers and configuration"


def exported(log: str) -> str:
    """The digest that BuildKit gave to the CPU image's manifest."""
    number = re.findall(r"^#(\d+) \[cpu\] exporting to image", log, re.MULTILINE)[-1]
    return re.findall(rf"^#{number} exporting manifest (sha256:\w+)", log, re.MULTILINE)[-1]
