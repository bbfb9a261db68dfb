"""From an unresolved base to an image that others run by its digest, with a registry on loopback."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import yaml
from lab.checkout import Checkout, checkout

from heteropd.images.registry import INDEX, MANIFEST

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
    said = [json.loads(line) for line in client.images.push(repository, tag=tag).splitlines() if line]
    assert not [one for one in said if "error" in one], said
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


def test_documents_are_listed_with_the_image(ref: str, registry: str) -> None:
    """docker-registry 2.8 has no referrers: the protocol's index stands in for them."""
    digest = ref.partition("@")[2]
    accept = ", ".join((INDEX, MANIFEST))
    get = httpx.Client(base_url=f"http://{registry}/v2/test-publish/router/", headers={"Accept": accept})
    listed = get.get(f"manifests/{digest.replace(':', '-')}").json()["manifests"]
    kinds = {one["artifactType"]: one["digest"] for one in listed}
    assert set(kinds) == {"application/vnd.cyclonedx+json", "application/vnd.in-toto+json"}
    found: dict[str, dict[str, Any]] = {}
    for kind, one in kinds.items():
        manifest = get.get(f"manifests/{one}").json()
        assert manifest["subject"]["digest"] == digest
        found[kind] = get.get(f"blobs/{manifest['layers'][0]['digest']}", follow_redirects=True).json()
    parts = {one["purl"].partition("@")[0] for one in found["application/vnd.cyclonedx+json"]["components"]}
    assert {"pkg:pypi/vllm-router", "pkg:deb/debian/bash"} <= parts
    build = found["application/vnd.in-toto+json"]["predicate"]["buildDefinition"]
    uris = {one["uri"] for one in build["resolvedDependencies"]}
    assert "env/locks/router.txt" in uris
    assert any(uri.startswith(f"docker-image://{registry}/test-base/python@sha256:") for uri in uris)


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
