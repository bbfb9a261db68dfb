"""The docker runtime on a real engine, with stub servers in the containers: seconds instead of minutes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound
from e2e_kit import free_ports
from lab.kit import ROOT
from rich.console import Console

from heteropd.config import env
from heteropd.config.observe import Service
from heteropd.containers import faults, lifecycle, stopping
from heteropd.errors import BadInput, KitError, TopologyFailed
from heteropd.observe import services
from heteropd.plan.model import ContainerPlan, HostPlan, Plan, Ports, RolePlan
from heteropd.topology import Context, Timeouts, down, load, logs, restart, status, up

STUB = ROOT / "tests" / "unit" / "topology" / "stub.py"
IMAGE = "heteropd-stub:test"
# The kernel gives process 1 no default reaction to SIGTERM; engines bring their own.
# And memory, without which none of it could be taken.
_FIRST_PROCESS = """
import runpy, signal, sys
memory = b"1" * 2**26
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
runpy.run_path("/stub.py", run_name="__main__")
"""
HOST = HostPlan(name="here", address="127.0.0.1")


@pytest.fixture(scope="module")
def image(engine: str, bases: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("stub")
    for file in (STUB, STUB.with_name("tiny_http.py")):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "main.py").write_text(_FIRST_PROCESS)
    (folder / "Dockerfile").write_text(
        f"FROM {bases[1]}\nCOPY stub.py tiny_http.py main.py /\nENV BAKED=in\n"
    )
    subprocess.run(
        ["docker", "buildx", "build", "--quiet", "--load", "--tag", IMAGE, folder],
        check=True,
        capture_output=True,
    )
    yield IMAGE
    client = docker.DockerClient(base_url=engine)
    with suppress(ImageNotFound):
        client.images.remove(IMAGE, force=True)
    client.close()


@dataclass
class Lab:
    """A context with a state folder of its own, and the engine it uses."""

    context: Context
    url: str
    ports: list[int]

    def plan(self, **flags: list[str]) -> Plan:
        roles = [
            _role(name, port, flags.get(name.removesuffix("-0"), []))
            for name, port in zip(("prefill-0", "decode-0", "router"), self.ports, strict=True)
        ]
        return Plan(
            case="case1", pins="stub", variant="base", runtime="docker", model="stub-model",
            model_source=str(STUB.parent), parameters={}, agreed_block_size=None, roles=roles,
        )  # fmt: skip

    def containers(self) -> list[lifecycle.ContainerRef]:
        return list(lifecycle.find(self.url, self.context.state_dir))

    def said(self) -> str:
        assert isinstance(self.context.console.file, io.StringIO)
        return self.context.console.file.getvalue()


@pytest.fixture
def lab(engine: str, image: str) -> Iterator[Lab]:
    del image
    with tempfile.TemporaryDirectory(prefix="hpd-") as folder:
        context = Context(
            root=ROOT,
            console=Console(file=io.StringIO(), width=200),
            timeouts=Timeouts(ready=90, stop=3),
            state_dir=Path(folder),
            memory_gib=0.01,
            disk_gib=0.01,
            images={str(name): one for name, one in env.load(ROOT).images.images.items()},
        )
        one = Lab(context, engine, free_ports(3))
        try:
            yield one
        finally:
            down(context)
            stopping.sweep([engine], context.state_dir, None)


def test_up_status_logs_and_down_leave_nothing(lab: Lab) -> None:
    topology = up(lab.plan(), lab.context)
    assert topology.phase == "up"
    report = status(lab.context)
    assert report.state == "up"
    assert {role.health for role in report.roles} == {"ok"}
    assert all(role.container and role.container.startswith("heteropd-") for role in report.roles)
    logs(lab.context, "router")
    assert "router │ " in lab.said()
    ended = down(lab.context)
    assert ended.ok
    assert {role.outcome for role in ended.roles} == {"stopped"}
    assert (ended.containers, lab.containers()) == (3, [])
    assert ended.ports_in_use == []
    assert (lab.context.log("router")).read_text(), "what a container said is kept when it is removed"


def test_the_same_plan_is_taken_up_and_a_lost_state_adopted(lab: Lab) -> None:
    first = {role.container for role in up(lab.plan(), lab.context).roles}
    assert {role.container for role in up(lab.plan(), lab.context).roles} == first
    (lab.context.state_dir / "state.json").unlink()
    assert {role.container for role in up(lab.plan(), lab.context).roles} == first
    assert "adopted" in lab.said()
    with pytest.raises(BadInput, match="differs from this plan"):
        up(lab.plan(decode=["--healthy-after", "0.1"]), lab.context)


def test_containers_of_a_lost_topology_are_ended_by_down(lab: Lab) -> None:
    up(lab.plan(), lab.context)
    (lab.context.state_dir / "state.json").unlink()
    report = down(lab.context)
    assert (report.was_running, report.containers, lab.containers()) == (True, 3, [])


def test_a_role_that_dies_fails_the_bring_up_with_its_last_words_and_leaves_nothing(lab: Lab) -> None:
    last = "error: unrecognized arguments: --no-such-flag"
    with pytest.raises(TopologyFailed, match="decode-0 died after") as failed:
        up(lab.plan(decode=["--die-after", "0", "--say", last]), lab.context)
    assert any(last in line for line in failed.value.log_tail)
    assert failed.value.hint
    assert lab.containers() == []


def test_a_dead_container_makes_a_broken_topology_that_is_started_anew(lab: Lab) -> None:
    first = up(lab.plan(), lab.context)
    ref = first.role("decode-0").container
    assert ref is not None
    lifecycle.client(lab.url).api.kill(ref.id)
    assert status(lab.context).state == "broken"
    second = up(lab.plan(), lab.context)
    assert not second.dead()
    assert {role.container for role in second.roles}.isdisjoint({role.container for role in first.roles})
    assert len(lab.containers()) == 3


@pytest.mark.parametrize(("role", "anew"), [("decode-0", {"prefill-0", "decode-0"}), ("router", {"router"})])
def test_a_restart_replaces_the_containers_of_its_roles(lab: Lab, role: str, anew: set[str]) -> None:
    """After a death, and once more without one; nothing of the old containers stays."""
    first = up(lab.plan(), lab.context)
    dead = first.role(role).container
    assert dead is not None
    faults.inflict(dead, "kill")
    second = restart(role, lab.context)
    assert status(lab.context).state == "up"
    assert {one.name for one in second.roles if one.container != first.role(one.name).container} == anew
    assert set(lab.containers()) == {one.container for one in second.roles}
    restart(role, lab.context)
    assert len(lab.containers()) == 3
    assert "restarting" in lab.said()


def test_services_that_observe_are_containers_where_their_program_is_missing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No topology's own: `down` of a topology leaves them, and ours ends them."""
    argv = ["python3", "/main.py", "--port", "{port}"]
    service = Service(image=IMAGE, port=1, ready="/health", argv=argv, env={"HERE": "{folder}"})
    monkeypatch.setenv("PATH", "")  # this machine has a python3
    urls = services.start(lab.plan(), {"prometheus": service}, {"prometheus": lab.ports[0]}, lab.context)
    assert services.running(lab.context) == urls == {"prometheus": f"http://127.0.0.1:{lab.ports[0]}"}
    assert lab.containers() == []
    down(lab.context)
    (lab.context.state_dir / "observe/services.json").unlink()
    assert services.end(lab.context) == ["what observed"]
    assert services.end(lab.context) == []


def test_what_drills_do_to_containers(lab: Lab) -> None:
    """Pause and run on; start again as it was."""
    topology = up(lab.plan(), lab.context)
    prefill, decode = (topology.role(name).container for name in ("prefill-0", "decode-0"))
    assert prefill is not None
    assert decode is not None
    faults.inflict(decode, "pause")
    assert status(lab.context).state == "broken"
    faults.inflict(decode, "unpause")
    assert status(lab.context).state == "up"
    faults.inflict(prefill, "kill")
    faults.inflict(prefill, "start")
    _until(lambda: status(lab.context).state == "up")


def test_a_container_without_memory_is_killed_and_restart_brings_it_back(lab: Lab) -> None:
    decode = up(lab.plan(), lab.context).role("decode-0").container
    assert decode is not None
    try:
        faults.starve(decode)
    except KitError as refusal:
        pytest.skip(f"this engine limits no memory: {refusal}")
    _until(lambda: status(lab.context).state == "broken")
    assert lifecycle.exit_status(decode) == -signal.SIGKILL
    restart("decode-0", lab.context)
    assert status(lab.context).state == "up"


def test_the_largest_process_of_a_container_is_killed_and_its_first_is_not(lab: Lab) -> None:
    """As the kernel does it, where an engine limits no memory."""
    decode = up(lab.plan(), lab.context).role("decode-0").container
    assert decode is not None
    box = lifecycle.client(decode.docker_host).containers.get(decode.id)
    with pytest.raises(KitError, match="there is none"):
        faults.kill_largest(decode)
    hog = "import time; kept = b'1' * 2**26; open('/tmp/ready', 'w'); time.sleep(600)"
    box.exec_run(["python3", "-c", hog], detach=True)
    _until(lambda: box.exec_run(["test", "-e", "/tmp/ready"]).exit_code == 0)
    assert faults.kill_largest(decode).startswith("python3")
    assert not any(hog in row for rows in box.top()["Processes"] for row in rows)
    assert status(lab.context).state == "up"


def _until(reached: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_image_that_is_not_there_is_refused_with_the_command_that_builds_it(lab: Lab) -> None:
    plan = lab.plan()
    gone = ContainerPlan(image="heteropd/cpu:nowhere-base", args=["--net=host"])
    roles = [plan.roles[0].model_copy(update={"container": gone}), *plan.roles[1:]]
    with pytest.raises(BadInput, match="make build images=cpu pins=stub"):
        up(plan.model_copy(update={"roles": roles}), lab.context)
    assert lab.containers() == []
    assert load(lab.context) is None


def test_a_container_that_cannot_start_leaves_none_behind(lab: Lab) -> None:
    plan = lab.plan()
    broken = ContainerPlan(image=IMAGE, args=["--net=host", "--device=/dev/no-such-device"])
    roles = [*plan.roles[:1], plan.roles[1].model_copy(update={"container": broken}), *plan.roles[2:]]
    with pytest.raises(KitError, match="no-such-device"):
        up(plan.model_copy(update={"roles": roles}), lab.context)
    assert lab.containers() == []


_COMMAND = """
import sys, time
sys.path[:0] = [{tests!r}, {e2e!r}]
from test_runtime import *
context = Context(root=ROOT, console=Console(width=200), timeouts=Timeouts(ready=90, stop=3), memory_gib=0.01,
    disk_gib=0.01, state_dir=Path({state!r}), images=dict(env.load(ROOT).images.images))
# A test run in the background ignores SIGINT, and what it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
try:
    up(Plan.model_validate_json({plan!r}), context)
except KitError as stop:
    sys.exit(stop.exit_code)
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_whatever_ends_a_bring_up_ends_its_containers(lab: Lab, signum: signal.Signals) -> None:
    plan = lab.plan(decode=["--healthy-after", "3600"])
    code = textwrap.dedent(_COMMAND).format(
        tests=str(Path(__file__).parent),
        e2e=str(ROOT / "tests/e2e"),
        state=str(lab.context.state_dir),
        plan=plan.model_dump_json(),
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as command:
        assert command.stdout is not None
        for line in command.stdout:
            if "router (router): healthy" in line:
                break
        assert len(lab.containers()) == 3
        command.send_signal(signum)
        command.stdout.read()
        command.wait(60)
    _eventually(lambda: not lab.containers() and load(lab.context) is None)
    if signum != signal.SIGKILL:
        assert command.returncode == 130


def _eventually(true: object, limit_s: float = 60.0) -> None:
    assert callable(true)
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _role(name: str, port: int, flags: list[str]) -> RolePlan:
    return RolePlan(
        name=name, role=name.removesuffix("-0"), platform="router" if name == "router" else "cuda",  # type: ignore[arg-type]
        runs_on="router" if name == "router" else "cpu", host=HOST, env={"SEEN": "${BAKED} and out"},
        argv=["python3", "/main.py", "--port", str(port), *flags], ports=Ports(api=port),
        container=ContainerPlan(image=IMAGE, args=["--net=host"]),
    )  # fmt: skip
