"""The suites on a topology of stubs: green as planned, and exactly the right tests red where not.

A stub listens, has files mapped that are named like NIXL's libraries, and runs in a Python whose packages
are those of the lock by name and version. No vLLM, no network.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from heteropd.config import env as room
from heteropd.config.machine import Machine
from heteropd.plan.engines import SIDE_CHANNEL_PORT
from heteropd.plan.model import Plan, RolePlan
from heteropd.processes.identity import boot_id, identify
from heteropd.topology import Topology
from heteropd.topology.state import RoleState, save
from infra_facts import expected
from plan_words import make

ROOT = Path(__file__).parents[3]
STUB = Path(__file__).parent / "stub_engine.py"
LIBRARIES = ("libnixl.so", "libucp-b39b3ed9.so.0.0.0", "libuct-1141f529.so.0.0.0", "libucs-14c218c5.so.0.0.0")


@dataclass
class Stubs:
    """What the stubs are made of; tests change it before they start."""

    folder: Path
    plan: Plan
    env: dict[str, dict[str, str]] = field(default_factory=dict)
    more: dict[str, list[str]] = field(default_factory=dict)
    side_channel_at: dict[str, str] = field(default_factory=dict)
    dead: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        return self.folder / "engine" / "bin" / "python"

    def package(self, name: str, version: str) -> None:
        """Make a package known to the engines' Python, or change its version."""
        site = next((self.folder / "engine" / "lib").glob("python3*")) / "site-packages"
        info = site / f"{name}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def library(self, name: str) -> str:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
        return str(file)

    def told(self, role: RolePlan) -> dict[str, Any]:
        api = [role.host.address, role.ports.api]
        if role.role == "router":
            return {"listen": [api], "maps": []}
        at = self.side_channel_at.get(role.name, role.host.address)
        maps = [self.library(name) for name in (*LIBRARIES, *self.more.get(role.name, []))]
        core = {"listen": [[at, role.ports.side_channel]], "maps": maps}
        return {"listen": [api], "maps": [self.library(LIBRARIES[0])], "child": core}

    @contextmanager
    def started(self) -> Iterator[Topology]:
        """The topology of stubs, recorded as running."""
        with ExitStack() as stack:
            roles = [self._start(role, stack) for role in self.plan.roles]
            topology = Topology(
                id="stub",
                phase="up",
                boot_id=boot_id(),
                fingerprint=self.plan.fingerprint(),
                created=datetime.now(UTC),
                plan=self.plan,
                roles=roles,
            )
            save(topology, self.folder / "state")
            yield topology

    def _start(self, role: RolePlan, stack: ExitStack) -> RoleState:
        argv = [self.python, STUB, json.dumps(self.told(role)), "--model", self.folder / "model"]
        env = {"PATH": os.environ["PATH"], **role.env, **self.env.get(role.name, {})}
        child = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(child.communicate, timeout=60)
        assert child.stdout is not None
        assert child.stdout.readline().startswith("ready")
        process = identify(child.pid)
        if role.name in self.dead:
            child.communicate(timeout=60)
        return RoleState(name=role.name, log=self.folder / "log", process=process)


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    words = [
        f"{name}={port}" for name, port in zip(("port", "prefill_port", "decode_port"), free(3), strict=True)
    ]
    plan = make(["case1", *words], ROOT, Machine(cores=[0, 1]))
    ports = dict(zip(("prefill-0", "decode-0"), free(2), strict=True))
    plan = plan.model_copy(update={"roles": [at_port(role, ports) for role in plan.roles]})
    made = Stubs(tmp_path, plan)
    venv.create(tmp_path / "engine", symlinks=True)
    python = {"version": platform.python_version(), "machine": platform.machine()}
    for name, version in expected.versions(plan.engines[0], plan, room.load(ROOT), ROOT, python).items():
        made.package(name, version)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return made


def at_port(role: RolePlan, side_channels: Mapping[str, int]) -> RolePlan:
    """The role with a side channel of its own: the parameter gives two ports that lie side by side."""
    port = side_channels.get(role.name)
    if port is None:
        return role
    ports = role.ports.model_copy(update={"side_channel": port})
    return role.model_copy(update={"ports": ports, "env": role.env | {SIDE_CHANNEL_PORT: str(port)}})


def free(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def infra(stubs: Stubs, *words: str) -> tuple[dict[str, str], dict[str, str], str]:
    """Outcome and reason of each test on running roles, and what was printed."""
    report = stubs.folder / "facts.json"
    argv = [sys.executable, "-m", "heteropd", "infra", *words, "--json", report]
    env = {**os.environ, "HETEROPD_STATE_DIR": str(stubs.folder / "state")}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    said = done.stdout + done.stderr
    assert report.exists(), said
    results = json.loads(report.read_text())["results"]
    outcomes, reasons = {}, {}
    for one in results:
        assert one["doc"], f"{one['nodeid']} does not say why the fact matters"
        if "/topology/" in one["nodeid"]:
            name = one["nodeid"].partition("::")[2].replace("local-", "")
            outcomes[name], reasons[name] = one["outcome"], one["reason"] or ""
    return outcomes, reasons, said


def of(outcome: str, outcomes: Mapping[str, str]) -> set[str]:
    return {name for name, found in outcomes.items() if found == outcome}


def test_as_planned_everything_is_green_and_nothing_unknown(stubs: Stubs) -> None:
    with stubs.started():
        outcomes, reasons, said = infra(stubs, "--strict")
    assert of("failed", outcomes) == set(), said
    assert of("skipped", outcomes) == {
        "test_engine_may_lock_memory[prefill-0]",
        "test_engine_may_lock_memory[decode-0]",
    }
    assert all(reasons[name].startswith("not needed: ") for name in of("skipped", outcomes))
    assert "test_role_runs_and_answers_on_its_port[router]" in of("passed", outcomes)
    assert {name.partition("[")[0] for name in outcomes if "router" in name} == {
        "test_role_runs_and_answers_on_its_port",
        "test_no_proxy_stands_between_the_roles",
    }


def test_planted_faults_turn_exactly_their_tests_red(stubs: Stubs) -> None:
    stubs.env["prefill-0"] = {"VLLM_KV_CACHE_LAYOUT": "NHD"}
    stubs.more["decode-0"] = ["second/libucp.so.0.0.0"]
    stubs.side_channel_at["decode-0"] = "127.0.0.2"
    stubs.package("nixl-cu12", "0.7.0")
    stubs.env["router"] = {"HTTPS_PROXY": "http://user:secret@proxy.example:3128", "no_proxy": "localhost"}
    with stubs.started():
        outcomes, reasons, said = infra(stubs)
    assert of("failed", outcomes) == {
        "test_no_proxy_stands_between_the_roles[router]",
        "test_environment_is_the_plans[prefill-0]",
        "test_one_copy_of_each_library[decode-0]",
        "test_side_channel_listens_where_it_is_announced[decode-0]",
        "test_packages_of_the_engine_are_locked[prefill-0]",
        "test_packages_of_the_engine_are_locked[decode-0]",
    }, said
    assert "VLLM_KV_CACHE_LAYOUT: 'NHD' in pid" in reasons["test_environment_is_the_plans[prefill-0]"]
    assert reasons["test_no_proxy_stands_between_the_roles[router]"].endswith(
        "(python), and no_proxy does not name 127.0.0.1"
    )
    assert "secret" not in said
    assert "second/libucp.so.0.0.0" in reasons["test_one_copy_of_each_library[decode-0]"]
    assert "127.0.0.2" in reasons["test_side_channel_listens_where_it_is_announced[decode-0]"]
    assert (
        reasons["test_packages_of_the_engine_are_locked[decode-0]"]
        == "nixl-cu12: 0.7.0 is installed, 1.4.1 wanted"
    )


def test_a_model_that_is_gone_and_an_engine_that_died(stubs: Stubs) -> None:
    (stubs.folder / "model" / "config.json").unlink()
    stubs.dead = ("decode-0",)
    with stubs.started():
        outcomes, reasons, said = infra(stubs)
    assert of("failed", outcomes) == {
        "test_role_runs_and_answers_on_its_port[decode-0]",
        "test_model_of_the_engine_is_there[prefill-0]",
    }, said
    unknown = {name for name, reason in reasons.items() if reason.startswith("cannot be had: ")}
    assert unknown == {name for name in outcomes if "[decode-0]" in name and "role_runs" not in name}
