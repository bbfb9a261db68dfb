"""Docker on other hosts: images, models and secrets that are sent there, and what containers get."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound
from rich.console import Console

from heteropd import export
from heteropd.app import wiring
from heteropd.config.machine import Machine
from heteropd.containers import lifecycle, stopping, transfer
from heteropd.containers.docker_host import of_plan
from heteropd.plan.model import Plan
from heteropd.topology import Context
from heteropd.topology.containers import ContainerStarter
from plan_words import make

ROOT = Path(__file__).parents[3]
EXAMPLE = "env/hosts/example.yaml"


def planned() -> Plan:
    return make(["case1", f"hosts={EXAMPLE}"], ROOT, Machine(cores=[0, 1]))


def test_every_host_has_a_docker_of_its_own() -> None:
    nodes = [f"ssh://root@192.0.2.{number}" for number in (10, 20, 30)]
    assert of_plan(planned()) == nodes


@dataclass
class Images:
    """A Docker host's images by name, with their ids; ``pulled`` is what came from a registry."""

    ids: dict[str, str]
    pulled: list[str] = field(default_factory=list)

    @property
    def images(self) -> Any:
        def get(name: str) -> Any:
            if name not in self.ids:
                raise ImageNotFound(name)
            return SimpleNamespace(attrs={"Id": self.ids[name]})

        def pull(name: str) -> Any:
            self.pulled.append(name)
            self.ids[name] = "pulled"
            return get(name)

        return SimpleNamespace(get=get, pull=pull)


@pytest.mark.parametrize(
    "case",
    [
        ("heteropd/cpu:a", {"heteropd/cpu:a": "1"}, {}, True, "1"),
        ("heteropd/cpu:a", {"heteropd/cpu:a": "1"}, {"heteropd/cpu:a": "1"}, False, "1"),
        ("heteropd/cpu:a", {"heteropd/cpu:a": "2"}, {"heteropd/cpu:a": "1"}, True, "2"),
        ("heteropd/cpu:a", {}, {"heteropd/cpu:a": "1"}, False, "1"),
        ("heteropd/cpu:a", {}, {}, False, None),
        ("r/cpu@sha256:0", {"r/cpu@sha256:0": "1"}, {}, False, "pulled"),
        ("r/cpu@sha256:0", {}, {"r/cpu@sha256:0": "1"}, False, "1"),
    ],
)
def test_an_image_is_sent_unless_the_very_same_is_there(
    case: tuple[str, dict[str, str], dict[str, str], bool, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, here, remote, sent, expected = case
    docker = {"unix://here": Images(dict(here)), "ssh://there": Images(dict(remote))}
    sendings: list[str] = []

    def send(name: str, _local: str, url: str, _say: object) -> None:
        sendings.append(name)
        docker[url].ids[name] = docker["unix://here"].ids[name]

    monkeypatch.setattr(lifecycle, "client", docker.__getitem__)
    monkeypatch.setattr(transfer.docker_host, "present", lambda: True)
    monkeypatch.setattr(transfer, "_send", send)
    attributes = transfer.image(name, "ssh://there", "unix://here", lambda _: None)
    assert (attributes["Id"] if attributes else None) == expected
    assert sendings == ([name] if sent else [])
    assert docker["ssh://there"].pulled == ([name] if expected == "pulled" else [])


def test_a_models_configuration_comes_last(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o600)
    with transfer.archive(tmp_path) as stream, tarfile.open(fileobj=stream) as tar:
        members = tar.getmembers()
    assert [one.name for one in members] == ["model.safetensors", "tokenizer.json", "config.json"]
    assert {(one.mode, one.uid) for one in members} == {(0o644, 0)}


def test_a_secret_is_a_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(lifecycle.secret("/run/secrets/hf_token", "hf_x"))) as tar:
        one = tar.getmember("run/secrets/hf_token")
        content = tar.extractfile(one)
        assert content is not None
        assert content.read() == b"hf_x"


def test_segments_are_read_from_maps_and_open_files() -> None:
    text = """7f6d2c000000-7f6d2c021000 rw-s 00000000 00:19 7              /dev/shm/sem.AbCdEf (deleted)
7f6d2c000000-7f6d2c021000 r-xp 00000000 fe:00 9              /usr/lib/libc.so.6
lrwx------ 1 root root 64 Nov 22 20:00 12 -> /dev/shm/psm_25631bc3
lrwx------ 1 root root 64 Nov 22 20:00 13 -> socket:[4711]

 7 sem.mp-ephyntjq
 8 psm_25631bc3
 9 psm_of_somebody_else
"""
    assert stopping.named_segments(text) == {"psm_25631bc3", "sem.mp-ephyntjq"}


def test_engines_of_a_host_get_its_own_model_and_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = tmp_path / "hosts.yaml"
    text = (ROOT / "env/hosts/example-2p2d.yaml").read_text()
    hosts.write_text(
        text.replace(
            "gaudi-2: {", "gaudi-2: {model: /models/mine, image: 'mine:1', management: 198.51.100.9, "
        ).replace("  cuda-node:\n", "  cuda-node:\n    hub_cache: /mnt/hub\n")
    )
    plan = make(["case1", f"hosts={hosts}", "model=org/name"], ROOT, Machine(cores=[0]))
    monkeypatch.setattr(transfer, "image", lambda *_: {"Config": {"Env": []}})
    context = Context(
        ROOT, Console(quiet=True), state_dir=tmp_path / "state", images=wiring.context(ROOT).images
    )
    starter = ContainerStarter(plan, context, "id")
    launches = starter._launches
    assert launches["decode-0"].options["volumes"] == ["heteropd-hub:/home/heteropd/.cache/huggingface"]
    assert launches["decode-1"].options["volumes"] == ["/models/mine:/models/mine:ro"]
    assert launches["prefill-0"].options["volumes"] == ["/mnt/hub:/home/heteropd/.cache/huggingface"]
    assert "model: org/name from the hub, kept in the host's folder /mnt/hub" in export.render(plan)
    assert [launches[f"decode-{at}"].image for at in (0, 1)] == [
        "heteropd/gaudi:doc-2025-12-decode-post-process", "mine:1",
    ]  # fmt: skip
    assert "HF_HOME" not in launches["decode-1"].env
    assert launches["decode-1"].env["HETEROPD_HEALTH"] == "http://192.0.2.21:8200/health", "asked from inside"
    assert plan.of("decode")[1].url == "http://198.51.100.9:8200"
