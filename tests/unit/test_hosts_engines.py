"""Engines on other hosts: the forwarded socket, what is sent there, and finding a topology again."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, ImageNotFound
from rich.console import Console

from heteropd import workplace
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.plan import formats, make
from heteropd.plan.model import Plan
from heteropd.runtime import archives, container, container_ending, container_memory, forward, shipping
from heteropd.runtime.container import ContainerRef
from heteropd.runtime.identity import Identity, alive, identify
from heteropd.spec.env import load_hosts
from heteropd.spec.machine import Machine
from heteropd.topology import Context
from heteropd.topology import recover as recover_it
from heteropd.topology.containers import ContainerStarter, engines_of
from heteropd.topology.recover import packed, unpacked
from heteropd.topology.state import load

ROOT = Path(__file__).parents[2]
EXAMPLE = "env/hosts/example.yaml"
ANSWERS = "#!/bin/sh\necho ready\nexec cat >/dev/null\n"
REFUSES = "#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is first on PATH, for an ssh; forwards that were opened are closed."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(forward.CONFIG_VARIABLE, raising=False)
    yield tmp_path / "ssh"
    forward.close()


def written(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def opened(destination: str) -> Identity:
    found = identify(forward._open[destination].process.pid)
    assert found is not None
    return found


def test_an_address_that_is_not_ssh_stays() -> None:
    assert forward.local("unix:///var/run/docker.sock") == "unix:///var/run/docker.sock"


def test_a_forward_is_kept_and_made_again_when_ssh_has_ended(ssh: Path) -> None:
    written(ssh, ANSWERS)
    first = forward.local("ssh://root@192.0.2.1")
    assert first.startswith("unix://")
    assert forward.local("ssh://root@192.0.2.1") == first
    forward._open["root@192.0.2.1"].process.kill()
    forward._open["root@192.0.2.1"].process.wait()
    assert forward.local("ssh://root@192.0.2.1") != first


def test_a_forward_ends_with_its_pipe_and_leaves_no_folder(ssh: Path) -> None:
    written(ssh, ANSWERS)
    socket = Path(forward.local("ssh://root@192.0.2.1").removeprefix("unix://"))
    process, one = forward._open["root@192.0.2.1"].process, opened("root@192.0.2.1")
    assert process.stdin is not None
    process.stdin.close()  # what the kernel does when the kit is killed
    process.wait(10)
    assert not alive(one)
    forward.close()
    assert not socket.parent.exists()


def test_folders_of_kits_that_were_killed_go(
    ssh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(ssh, ANSWERS)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as child:
        child.wait()
    names = (f"{child.pid}-abc", f"{os.getppid()}-abc", "else")
    for name in names:
        (tmp_path / f"heteropd-ssh-{name}").mkdir()
    forward.local("ssh://node")
    assert [(tmp_path / f"heteropd-ssh-{name}").exists() for name in names] == [False, True, True]


def test_what_ssh_says_is_passed_on(ssh: Path) -> None:
    written(ssh, REFUSES)
    with pytest.raises(MissingPrerequisite, match=r"root@192\.0\.2\.1 does not answer .*Permission denied"):
        forward.local("ssh://root@192.0.2.1")


def test_a_host_that_did_not_answer_is_not_waited_for_again_at_once(
    ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command looks at a host many times, and each look may take ssh ten seconds."""
    asked = ssh.with_name("asked")
    written(ssh, f"#!/bin/sh\necho >>{asked}\nexit 255\n")

    def look() -> int:
        with pytest.raises(MissingPrerequisite, match="does not answer over ssh"):
            forward.local("ssh://node")
        return asked.read_text().count("\n")

    assert [look(), look(), look()] == [1, 1, 1]
    monkeypatch.setattr(forward, "_LOST_S", 0.0)
    assert look() == 2
    written(ssh, ANSWERS)
    assert forward.local("ssh://node").startswith("unix://")


def test_ssh_never_asks_and_takes_the_users_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(forward.CONFIG_VARIABLE, raising=False)
    words = forward.argv("node", Path("/tmp/s"))
    assert "BatchMode=yes" in words
    assert "-F" not in words
    assert not any("StrictHostKeyChecking" in word for word in words), "host keys are the user's to judge"
    monkeypatch.setenv(forward.CONFIG_VARIABLE, "/home/me/lab")
    assert forward.argv("node", Path("/tmp/s"))[:3] == ["ssh", "-F", "/home/me/lab"]


def planned() -> Plan:
    return make(["case1", f"hosts={EXAMPLE}"], ROOT, Machine(cores=[0, 1]))


def test_every_host_has_an_engine_of_its_own() -> None:
    nodes = [f"ssh://root@192.0.2.{number}" for number in (10, 20, 30)]
    assert engines_of(planned()) == nodes


@dataclass
class Engine:
    """Images by name, with their ids; ``sent`` and ``pulled`` are what came in."""

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
    name, here, there, sent, found = case
    engines = {"unix://here": Engine(dict(here)), "ssh://there": Engine(dict(there))}
    shipped: list[str] = []

    def ship(name: str, _local: str, url: str, _say: object) -> None:
        shipped.append(name)
        engines[url].ids[name] = engines["unix://here"].ids[name]

    monkeypatch.setattr(container, "client", engines.__getitem__)
    monkeypatch.setattr(shipping.engine, "present", lambda: True)
    monkeypatch.setattr(shipping, "_ship", ship)
    got = shipping.image(name, "ssh://there", "unix://here", lambda _: None)
    assert (got["Id"] if got else None) == found
    assert shipped == ([name] if sent else [])
    assert engines["ssh://there"].pulled == ([name] if found == "pulled" else [])


def test_a_models_configuration_comes_last(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o600)
    with archives.folder(tmp_path) as stream, tarfile.open(fileobj=stream) as tar:
        members = tar.getmembers()
    assert [one.name for one in members] == ["model.safetensors", "tokenizer.json", "config.json"]
    assert {(one.mode, one.uid) for one in members} == {(0o644, 0)}


def test_a_secret_is_a_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(archives.secret("/run/secrets/hf_token", "hf_x"))) as tar:
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
    assert container_memory.named(text) == {"psm_25631bc3", "sem.mp-ephyntjq"}


def test_a_plan_survives_as_a_label() -> None:
    plan = planned()
    assert unpacked(packed(plan)) == plan
    assert len(packed(plan)) < 8192


@pytest.mark.parametrize("label", ["", "no base64!", "eJwDAAAAAAE=", "bm8="])
def test_a_label_of_another_version_is_none(label: str) -> None:
    assert unpacked(label) is None


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(root=ROOT, console=Console(file=io.StringIO(), width=200), state_dir=tmp_path / "state")


def containers(plan: Plan, topology: str = "a1b2c3") -> dict[str, dict[ContainerRef, dict[str, str]]]:
    """What the engines of the example's hosts answer, by address."""
    found: dict[str, dict[ContainerRef, dict[str, str]]] = {}
    for role, url in zip(plan.roles, engines_of(plan), strict=True):
        ref = ContainerRef(id=f"id-{role.name}", name=f"heteropd-{topology}-{role.name}", engine=url)
        labels = container.labels(Path("/home/me/kit/.heteropd"), topology, role.name, plan.fingerprint())
        found[url] = {ref: {**labels, container.PLAN: packed(plan)}}
    return found


def test_a_topology_is_found_on_its_hosts(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned()
    monkeypatch.setattr(container, "find_any", containers(plan).__getitem__)
    found = recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context)
    assert found is not None
    assert (found.id, found.plan, found.engines) == ("a1b2c3", plan, engines_of(plan))
    assert {one.name: one.container.id for one in found.roles if one.container} == {
        role.name: f"id-{role.name}" for role in plan.roles
    }
    assert load(context.state_dir) == found


def test_nothing_on_the_hosts_is_nothing(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "find_any", lambda _: {})
    assert recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context) is None
    assert load(context.state_dir) is None


def test_topologies_of_several_are_not_mixed(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = containers(planned()), containers(planned(), "d4e5f6")
    first = next(iter(one))
    one[first] |= other[first]
    monkeypatch.setattr(container, "find_any", one.__getitem__)
    with pytest.raises(BadInput, match=r"2 topologies run on these hosts, started from .*/home/me/kit"):
        recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context)


def test_a_topology_of_another_version_is_left_alone(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = containers(planned())
    for labels in (labels for one in found.values() for labels in one.values()):
        labels[container.PLAN] = "older"
    monkeypatch.setattr(container, "find_any", found.__getitem__)
    with pytest.raises(BadInput, match="another version of the kit"):
        recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context)


def test_a_host_that_does_not_answer_is_said_and_not_forgotten(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heteropd.topology import down  # noqa: PLC0415

    plan = planned()
    answers = containers(plan)
    monkeypatch.setattr(container, "find_any", answers.__getitem__)
    recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context)

    def client(_needs: object = None, url: str = "") -> Any:
        raise MissingPrerequisite(f"{url} does not answer over ssh", "try ssh")

    monkeypatch.setattr(container, "client", lambda url: client(url=url))
    monkeypatch.setattr(container.engine, "connect", client)
    report = down(replace(context, timeouts=replace(context.timeouts, stop=0.1)))
    assert {role.outcome for role in report.roles} == {"not reached"}
    assert not report.ok
    assert "`make down` again" in report.notes[0]
    assert load(context.state_dir) is not None


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
    monkeypatch.setattr(shipping, "image", lambda *_: {"Config": {"Env": []}})
    context = Context(
        ROOT, Console(quiet=True), state_dir=tmp_path / "state", images=workplace.context(ROOT).images
    )
    starter = ContainerStarter(plan, context, "id")
    launches = starter._launches
    assert launches["decode-0"].options["volumes"] == ["heteropd-hub:/home/heteropd/.cache/huggingface"]
    assert launches["decode-1"].options["volumes"] == ["/models/mine:/models/mine:ro"]
    assert launches["prefill-0"].options["volumes"] == ["/mnt/hub:/home/heteropd/.cache/huggingface"]
    assert "model: org/name from the hub, kept in the host's folder /mnt/hub" in formats.render(plan)
    assert [launches[f"decode-{at}"].image for at in (0, 1)] == [
        "heteropd/gaudi:doc-2025-12-decode-post-process", "mine:1",
    ]  # fmt: skip
    assert "HF_HOME" not in launches["decode-1"].env
    assert launches["decode-1"].env["HETEROPD_HEALTH"] == "http://192.0.2.21:8200/health", "asked from inside"
    assert plan.of("decode")[1].url == "http://198.51.100.9:8200"


class Slow:
    """An engine that gives up on a container whose processes the kernel has not let go of yet."""

    def __init__(self, looks: int, code: int = 500) -> None:
        self.api, self.looks, self.code = self, looks, code

    def stop(self, _: str, timeout: int) -> None:
        response = requests.Response()
        response.status_code = self.code
        raise APIError(f"a zombie after {timeout} s", response)

    def inspect_container(self, _: str) -> dict[str, Any]:
        self.looks -= 1
        return {"State": {"Running": self.looks > 0, "ExitCode": 137}}


def test_a_container_that_dies_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = ContainerRef(id="1", name="decode-0", engine="unix:///nowhere")
    monkeypatch.setattr(container_ending, "client", lambda _: Slow(looks=3))
    assert container_ending.stop([ref], 15) == {"1": "killed"}
    monkeypatch.setattr(container_ending, "away", lambda _: None)
    monkeypatch.setattr(container_ending, "_GONE_S", 0.0)
    monkeypatch.setattr(container_ending, "client", lambda _: Slow(looks=1000))
    with pytest.raises(KitError, match="decode-0: 500 Server Error"):
        container_ending.stop([ref], 15)
    monkeypatch.setattr(container_ending, "client", lambda _: Slow(looks=3, code=409))
    with pytest.raises(KitError, match="decode-0: 409 Client Error"):
        container_ending.stop([ref], 15)
