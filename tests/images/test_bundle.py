"""The router from a bundle, with the network off: the same image as from the registries, or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from lab.checkout import Checkout, checkout

from heteropd.images import bundle_folder

PREFIX = "heteropd-test-bundle"


@pytest.fixture(scope="module")
def client(engine: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=engine, timeout=600)
    yield client
    for image in client.images.list():
        for tag in image.tags:
            if tag.startswith((f"{PREFIX}/", "heteropd-bundle:")):
                client.images.remove(tag, force=True)
    client.close()


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return checkout(tmp_path_factory.mktemp("checkout") / "kit", PREFIX)


@pytest.fixture(scope="module")
def bundle(kit: Checkout, client: docker.DockerClient, bases: tuple[str, str]) -> Path:
    del client
    folder = kit.root.parent / "bundle"
    assert f"collected {folder}" in kit.heteropd("bundle", "router", f"base={bases[0]}", f"to={folder}")
    return folder


def content(client: docker.DockerClient, image: str) -> tuple[list[str], dict[str, Any]]:
    """What decides an image: the digests of its layers, its configuration."""
    found = client.images.get(f"{PREFIX}/{image}:standin-base")
    return found.attrs["RootFS"]["Layers"], found.attrs["Config"]


def test_the_folder_holds_every_package_of_the_locks(bundle: Path, kit: Checkout) -> None:
    held = bundle_folder.read(bundle)
    bundle_folder.verify(held, bundle)
    names = {path.name.split("-")[0].replace("_", "-").lower() for path in (bundle / "wheels").iterdir()}
    wanted = {
        line.split("==")[0]
        for line in (kit.root / "env" / "locks" / "router.txt").read_text().splitlines()
        if "==" in line and ";" not in line and line[0].isalnum()
    }
    assert wanted <= names


def test_it_gives_the_same_image_as_the_registries(
    bundle: Path, kit: Checkout, client: docker.DockerClient, bases: tuple[str, str]
) -> None:
    kit.heteropd("build", "router", f"base={bases[0]}", "no_cache=1")
    online = content(client, "router")
    kit.heteropd("build", "router", f"bundle={bundle}", "no_cache=1")
    assert content(client, "router") == online


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_tampered_wheel_is_refused(bundle: Path, kit: Checkout, tmp_path: Path, everywhere: bool) -> None:
    """By the bundle's own sums and, should somebody have changed those too, by the hashes of the lock."""
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    wheel = next((copy / "wheels").glob("fastapi-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    if everywhere:
        held = bundle_folder.read(copy)
        name = wheel.relative_to(copy).as_posix()
        sums = {**held.files, name: bundle_folder.sha256(wheel)}
        bundle_folder.write(held.model_copy(update={"files": sums}), copy)
    said = kit.heteropd("build", "router", f"bundle={copy}", "no_cache=1", code=2)
    reason = (
        "a package is not the one that was locked" if everywhere else "is not what was collected (SHA-256)"
    )
    assert reason in said
    assert "Traceback" not in said


def test_a_lock_that_changed_needs_a_new_bundle(bundle: Path, tmp_path: Path) -> None:
    other = checkout(tmp_path / "kit", PREFIX)
    other.edit("env/locks/router.txt", "aiohttp==", "# changed\naiohttp==")
    said = other.heteropd("build", "router", f"bundle={bundle}", code=2)
    assert "is for other locks or pins of router" in said
