"""From an unresolved base to an image that others run by its digest, with a registry on loopback."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from lab.checkout import Checkout, checkout

PREFIX = "heteropd-test-publish"
LOCAL = f"{PREFIX}/router:standin-base"


@pytest.fixture(scope="module")
def client(engine: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=engine, timeout=600)
    yield client
    for image in client.images.list():
        for tag in image.tags:
            if tag.startswith((PREFIX, "127.0.0.1:")) and re.search(rf"{PREFIX}|/test-(base|publish)", tag):
                client.images.remove(tag, force=True)
    client.close()


@pytest.fixture(scope="module")
def base(client: docker.DockerClient, bases: tuple[str, str], registry: str) -> str:
    """The base in the registry, by tag, as an upstream has it."""
    return pushed(client, bases[0], f"{registry}/test-base/python", "1")


def pushed(client: docker.DockerClient, image: str, repository: str, tag: str) -> str:
    client.images.get(image).tag(repository, tag=tag)
    events = [json.loads(line) for line in client.images.push(repository, tag=tag).splitlines() if line]
    assert not [event for event in events if "error" in event], events
    return f"{repository}:{tag}"


@pytest.fixture(scope="module")
def kit(base: str, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose stand-in pin set is on that base and has not been locked yet."""
    made = checkout(tmp_path_factory.mktemp("checkout") / "kit", PREFIX)
    pins = made.root / "env" / "pins" / "standin.yaml"
    data = yaml.safe_load(pins.read_text())
    open_ = {"ref": base, "digest": "unresolved", "resolve": f"docker buildx imagetools inspect {base}"}
    data["images"] = {"cpu": open_, "router": dict(open_)}
    pins.write_text(yaml.safe_dump(data, sort_keys=False))
    return made


@pytest.fixture(scope="module")
def locked(kit: Checkout) -> Checkout:
    refused = kit.heteropd("build", "router", code=2)
    assert "env/pins/standin.yaml: images.router.digest: is not pinned; resolve it (make lock" in refused
    assert "wrote env/locks/standin.lock.yaml" in kit.heteropd("lock", "pins=standin")
    return kit


@pytest.fixture(scope="module")
def built(locked: Checkout, client: docker.DockerClient, base: str) -> Checkout:
    locked.heteropd("build", "router")
    labels = client.images.get(LOCAL).labels
    assert labels["io.heteropd.locked"] == "true"
    assert labels["io.heteropd.base"].startswith(base.rpartition(":")[0] + "@sha256:")
    return locked


@pytest.fixture(scope="module")
def ref(built: Checkout, registry: str) -> str:
    """The router by digest, published."""
    built.heteropd("publish", "router", f"registry={registry}/test-publish")
    file = built.root / ".heteropd" / "published" / "standin-base.yaml"
    return str(yaml.safe_load(file.read_text())["images"]["router"]["ref"])


def test_an_image_that_is_not_built_or_not_named_is_one_line(locked: Checkout, registry: str) -> None:
    said = locked.heteropd("publish", "cpu", f"registry={registry}/test-publish", code=2)
    assert f"{PREFIX}/cpu:standin-base: is not built; make build images=cpu" in said
    assert "registry=HOST/NAMESPACE" in locked.heteropd("publish", "router", code=2)


def test_a_registry_that_is_not_there_is_one_line(built: Checkout) -> None:
    said = built.heteropd("publish", "router", "registry=127.0.0.1:9/test-publish", code=2)
    assert "127.0.0.1:9/test-publish/router:standin-base: cannot be reached" in said
    assert "Traceback" not in said


def test_publishing_again_pushes_nothing(built: Checkout, ref: str, registry: str) -> None:
    said = built.heteropd("publish", "router", f"registry={registry}/test-publish")
    assert "is already there" in said
    assert "pushing" not in said
    assert f"is {ref}" in said
    assert "is already there" in built.heteropd(
        "publish", "router", f"registry={registry}/test-publish", "dry_run=1"
    )


def test_provenance_and_sbom_are_seen_with_imagetools_alone(ref: str, built: Checkout) -> None:
    """BuildKit's own, in the index of the image; and the same beside the file of digests."""
    materials = inspected(ref, "{{json .Provenance.SLSA.materials}}")
    assert any("test-base/python" in str(material["uri"]) for material in materials)
    assert any(str(material["uri"]).startswith("pkg:docker/heteropd-sbom@local") for material in materials)
    arguments = inspected(ref, "{{json .Provenance.SLSA.invocation.parameters.args}}")
    assert arguments["build-arg:LOCK"] == "env/locks/router.txt"
    names = {package["name"] for package in inspected(ref, "{{json .SBOM.SPDX.packages}}")}
    assert {"vllm-router", "bash"} <= names
    kept = built.root / ".heteropd" / "published" / "standin-base"
    assert {file.name for file in kept.iterdir()} == {"router.provenance.json", "router.sbom.spdx.json"}
    sbom = json.loads((kept / "router.sbom.spdx.json").read_text())
    assert {package["name"] for package in sbom["packages"]} == names


def inspected(ref: str, template: str) -> Any:
    words = ["docker", "buildx", "imagetools", "inspect", ref, "--format", template]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def test_others_run_it_by_its_digest(ref: str, client: docker.DockerClient) -> None:
    client.images.pull(ref)
    said = client.containers.run(ref, ["heteropd-inventory"], remove=True, network_mode="none")
    assert "vllm-router" in json.loads(said)["packages"]
    client.images.remove(ref, noprune=True)


def test_other_content_under_a_published_tag_is_refused(
    built: Checkout, ref: str, registry: str, client: docker.DockerClient, tmp_path: Path
) -> None:
    # An image that loses its last name is gone from the engine: this one keeps one.
    client.images.get(LOCAL).tag(f"{PREFIX}/kept", tag="1")
    (tmp_path / "Dockerfile").write_text(f"FROM {LOCAL}\nENV CHANGED=1\n")
    subprocess.run(
        ["docker", "buildx", "build", "--quiet", "--provenance=false", "--tag", LOCAL, tmp_path],
        check=True,
        capture_output=True,
    )
    try:
        said = built.heteropd("publish", "router", f"registry={registry}/test-publish", code=2)
    finally:
        client.images.get(f"{PREFIX}/kept:1").tag(LOCAL)
    assert f"{registry}/test-publish/router:standin-base: has other content there" in said
    assert "a published tag stays what it is" in said
    assert client.images.get_registry_data(ref).id == ref.partition("@")[2]


def test_drift_is_seen_when_the_upstream_tag_moves(
    locked: Checkout, base: str, client: docker.DockerClient, tmp_path: Path
) -> None:
    def state() -> set[str]:
        said = locked.heteropd("lock", "check=1", "pins=standin", "--json")
        return {row["state"] for row in json.loads(said)}

    assert state() == {"same"}
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nENV MOVED=1\n")
    subprocess.run(
        [
            "docker",
            "buildx",
            "build",
            "--quiet",
            "--provenance=false",
            "--tag",
            f"{PREFIX}/moved:1",
            tmp_path,
        ],
        check=True,
        capture_output=True,
    )
    before = client.images.get(base)
    try:
        pushed(client, f"{PREFIX}/moved:1", base.rpartition(":")[0], "1")
        assert state() == {"moved"}
    finally:
        before.tag(base)
        pushed(client, base, base.rpartition(":")[0], "1")
    assert "is current" in locked.heteropd("lock", "pins=standin")
