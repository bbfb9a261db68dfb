"""What is published, under which tag, and what a registry is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from heteropd.config.images import Published, PublishedImage
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.images import imagetools, publish
from heteropd.images.imagetools import RegistryImage
from heteropd.system import Completed

DIGEST = "sha256:" + "ab" * 32
LABELS = {"io.heteropd.image": "gaudi", "io.heteropd.locked": "true"}
REF = "registry.example/team/gaudi:1"
CONFIG = {"User": "root", "Env": ["A=1"], "Labels": LABELS}
LOCAL = {
    "Config": {**CONFIG, "Hostname": "", "Healthcheck": {"Test": []}},
    "RootFS": {"Layers": ["sha256:1"]},
}
THERE = {
    "manifest": {"digest": DIGEST, "manifests": []},
    "image": {"config": CONFIG, "rootfs": {"diff_ids": ["sha256:1"]}},
    "provenance": {"SLSA": {"materials": []}},
    "sbom": {"SPDX": {"packages": []}},
}


class Registry:
    """A runner whose docker gives one answer; ``argv`` is what it was asked."""

    def __init__(self, code: int = 0, out: str = "", err: str = "") -> None:
        self.completed, self.argv = (code, out, err), [""]

    def run(self, argv: Any, *, env: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> Completed:
        del env, timeout_s
        self.argv = list(argv)
        return Completed(tuple(argv), *self.completed)

    def spawn(self, *_: Any, **__: Any) -> int:
        raise AssertionError

    def show(self, *_: Any, **__: Any) -> int:
        raise AssertionError


def test_an_image_is_read_with_what_was_testified_of_it() -> None:
    registry = Registry(out=json.dumps(THERE))
    found = imagetools.image(REF, registry, {})
    assert found == RegistryImage(DIGEST, CONFIG, ["sha256:1"], {"materials": []}, {"packages": []})
    assert registry.argv[:5] == ["docker", "buildx", "imagetools", "inspect", REF]
    assert imagetools.digest(REF, Registry(out=json.dumps(THERE["manifest"])), {}) == DIGEST


@pytest.mark.parametrize("text", [f"ERROR: {REF}: not found\n", "ERROR: manifest unknown: x"])
def test_a_tag_that_is_free_is_none(text: str) -> None:
    assert imagetools.digest(REF, Registry(1, err=text), {}) is None


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        (1, "ERROR: dial tcp 127.0.0.1:9: connect: connection refused", f"{REF}: cannot be reached: "),
        (1, "ERROR: unexpected status: 401 Unauthorized", f"{REF}: the registry refuses: .*docker login"),
        (1, "ERROR: server gave HTTP response to HTTPS client", f"{REF}: "),
        (1, "docker: unknown command: docker buildx", "docker buildx is missing; "),
        (127, "", "docker buildx is missing; "),
    ],
)
def test_what_a_registry_says_is_one_line(code: int, text: str, message: str) -> None:
    with pytest.raises(KitError, match=message) as stop:
        imagetools.image(REF, Registry(code, err=text), {})
    assert "\n" not in str(stop.value)


class Engine:
    """An engine with that image store."""

    def __init__(self, driver: str) -> None:
        self.driver = driver

    def info(self) -> dict[str, Any]:
        return {"DriverStatus": [["driver-type", self.driver]]}


def test_an_engine_that_keeps_no_attestations_is_refused_with_the_setting() -> None:
    publish.imagetools.require_attestations(Engine("io.containerd.snapshotter.v1"))  # type: ignore[arg-type]
    with pytest.raises(MissingPrerequisite, match=r"keeps no provenance .*containerd-snapshotter.*anew"):
        publish.imagetools.require_attestations(Engine("overlay2"))  # type: ignore[arg-type]


def test_the_same_content_is_layers_and_settings_not_the_digest() -> None:
    remote = imagetools.image(REF, Registry(out=json.dumps(THERE)), {})
    assert remote is not None
    assert publish.same_content(LOCAL, remote)
    assert not publish.same_content({**LOCAL, "RootFS": {"Layers": ["sha256:2"]}}, remote)
    assert not publish.same_content({**LOCAL, "Config": {**LOCAL["Config"], "Env": ["A=2"]}}, remote)


@pytest.mark.parametrize("word", [None, "", "ghcr.io", "team/heteropd", "ghcr.io/", "https://ghcr.io/team"])
def test_a_destination_needs_registry_and_namespace(word: str | None) -> None:
    with pytest.raises(BadInput, match="registry=HOST/NAMESPACE"):
        publish.destination(word)
    assert publish.destination("ghcr.io/my-team/heteropd") == "ghcr.io/my-team/heteropd"
    assert publish.destination("localhost:5000/x1") == "localhost:5000/x1"


def test_an_unlocked_image_is_refused_or_gets_a_tag_that_says_so() -> None:
    assert publish.require_publishable(LABELS, "x:y", unlocked=False) == ""
    assert publish.require_publishable(LABELS, "x:y", unlocked=True) == ""
    open_ = {**LABELS, "io.heteropd.locked": "false", "io.heteropd.unlocked": "command line: base"}
    with pytest.raises(BadInput, match=r"x:y: was built with command line: base not pinned; .*unlocked=1"):
        publish.require_publishable(open_, "x:y", unlocked=False)
    assert publish.require_publishable(open_, "x:y", unlocked=True) == "-unlocked"
    with pytest.raises(BadInput, match="is not an image of the kit"):
        publish.require_publishable({}, "debian:12", unlocked=True)


def test_a_signer_that_is_absent_or_unknown_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingPrerequisite, match=r"cosign is not installed; .*leave sign= out"):
        publish._require_signer("cosign")
    with pytest.raises(BadInput, match="sign=cosign"):
        publish._require_signer("gpg")
    publish._require_signer(None)


def test_the_file_of_digests_grows_by_image(tmp_path: Path) -> None:
    def holding(name: str, ref: str) -> Published:
        image = PublishedImage(ref=ref, tag="t", inputs="i")
        return Published(pins="p", variant="base", images={name: image})

    publish.record(tmp_path, "p-base", holding("cpu", f"r/cpu@sha256:{'1' * 64}"))
    publish.record(tmp_path, "p-base", holding("router", f"r/router@sha256:{'1' * 64}"))
    file = publish.record(tmp_path, "p-base", holding("cpu", f"r/cpu@sha256:{'2' * 64}"))
    data = yaml.safe_load(file.read_text())
    assert {name: image["ref"] for name, image in data["images"].items()} == {
        "cpu": f"r/cpu@sha256:{'2' * 64}",
        "router": f"r/router@sha256:{'1' * 64}",
    }
    file.write_text("pins: 3\n")
    with pytest.raises(BadInput, match=r"published/p-base\.yaml: pins: 3: must be text"):
        publish.record(tmp_path, "p-base", holding("cpu", f"r/cpu@sha256:{'3' * 64}"))
