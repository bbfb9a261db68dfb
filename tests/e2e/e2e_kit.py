"""The kit as a user runs it, each time with a state folder and ports of its own."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from heteropd import proof
from heteropd.app import wiring
from heteropd.plan.model import Plan, RolePlan
from heteropd.proof import Verdict
from heteropd.topology import Context
from heteropd.topology.state import load, save

ROOT = Path(__file__).parents[2]
PLAN_WORDS: list[str] = []
"""What every plan is made with besides, from the option --plan-with."""
SHARED_MEMORY = Path("/dev/shm")
BRIEF = {
    "least": 11,
    "token_budget": 1,
    "long": 300,
    "longest_s": 0.01,
    "max_tokens": 4,
    "one_by_one": 2,
    "prefill_references": 8,
}


def free_ports(count: int, *, adjacent: bool = False) -> list[int]:
    """Ports that nobody listens on now; one after the other if ``adjacent``.

    None that the kernel hands out by itself: a router starts half a minute later, and until then an engine's
    own connections (UCX, ZMQ) could get its port.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        first = random.randrange(10_000, lowest - count)
        wanted = range(first, first + count) if adjacent else random.sample(range(10_000, lowest), count)
        try:
            with ExitStack() as stack:
                return [_bound(stack, port) for port in wanted]
        except OSError:
            continue


def listening(port: int) -> bool:
    """True when something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def running(pid: int) -> bool:
    """True while the process runs; one that has ended and waits for a lazy init to collect it does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def port_words() -> list[str]:
    """Words that give a case ports of its own, the router's port first; and PLAN_WORDS."""
    names = ("port", "prefill_port", "decode_port", "metrics_port")
    words = [f"{name}={port}" for name, port in zip(names, free_ports(len(names)), strict=True)]
    return [*words, f"side_channel_port={free_ports(2, adjacent=True)[0]}", *PLAN_WORDS]


@dataclass(frozen=True)
class Kit:
    """``heteropd`` with one state folder."""

    state: Path
    root: Path = ROOT
    shared_before: frozenset[str] = field(default_factory=lambda: frozenset(_shared_memory()))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HETEROPD_STATE_DIR": str(self.state), "COLUMNS": "200"}

    def run(self, *words: str, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end, whatever its exit status."""
        argv = [sys.executable, "-m", "heteropd", *words]
        return subprocess.run(
            argv,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def context(self, plan: Plan | None = None) -> Context:
        """What the verbs run with, for tests that change a plan before it runs; ``plan`` may have a real
        engine."""
        python = wiring.real_engine(ROOT, plan) if plan else None
        context = wiring.context(ROOT, wiring.prepare(ROOT))
        return replace(context, state_dir=self.state, accelerator_python=python)

    def validate(self, plan: Plan, *, brief: bool = False) -> Verdict:
        """Validate a running plan without the command line; ``brief``: only lengths that blocks call for."""
        context = self.context()
        settings = proof.load(self.root)
        if brief:
            probes = settings.probes.model_copy(update=BRIEF)
            request = settings.request.model_copy(update={"max_tokens": 8})
            settings = settings.model_copy(update={"probes": probes, "request": request})
        logs = {role.name: context.log(role.name) for role in plan.engines}
        options = proof.ProofOptions(logs=lambda name: logs[name].read_text(errors="replace"))
        return proof.run(plan, settings, context.clock, context.console, options)

    def report(self) -> dict[str, Any]:
        """The verdict as validation wrote it last."""
        found: dict[str, Any] = json.loads(self._newest("*.json").read_text())
        return found

    def newest_markdown(self) -> str:
        return self._newest("*.md").read_text()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def infra(self, *words: str, plan: Plan | None = None) -> tuple[int, dict[str, set[str]], str]:
        """Run `infra` on what runs: exit status, names of tests by outcome, what was printed.

        A name ends with the role that was tested: ``test_one_copy_of_each_library decode-0``. ``plan``: what
        is recorded as the plan meanwhile; what runs is left alone.
        """
        report, recorded = self.state / "infra.json", load(self.state)
        assert recorded is not None, "nothing is recorded as running"
        try:
            save(recorded.model_copy(update={"plan": plan or recorded.plan}), self.state)
            done = self.run("infra", *words, "--json", str(report))
        finally:
            save(recorded, self.state)
        said = done.stdout + done.stderr
        assert report.exists(), said
        outcomes: dict[str, set[str]] = {"passed": set(), "failed": set(), "skipped": set()}
        for one in json.loads(report.read_text())["results"]:
            test, _, where = one["nodeid"].partition("::")[2].partition("[")
            role = next((role.name for role in recorded.plan.roles if where.endswith(f"{role.name}]")), "")
            outcomes[one["outcome"]].add(f"{test} {role}".strip())
        report.unlink()
        return done.returncode, outcomes, said

    def state_of_plan(self) -> Plan:
        topology = load(self.state)
        assert topology is not None, "nothing is recorded as running"
        return topology.plan

    def shared_memory(self) -> list[str]:
        """Shared-memory segments that were not there when this kit was made."""
        return sorted(set(_shared_memory()) - self.shared_before)

    def _newest(self, pattern: str) -> Path:
        return max((self.state / "reports").glob(pattern), key=lambda file: file.stat().st_mtime_ns)


def plan_otherwise(plan: Plan) -> tuple[Plan, set[str]]:
    """The plan with another port for the prefill and another variable for the decode; what then is red."""
    prefill, decode = plan.of("prefill")[0], plan.of("decode")[0]
    ports = prefill.ports.model_copy(update={"api": free_ports(1)[0]})
    env = decode.env | {"VLLM_KV_CACHE_LAYOUT": "other"}
    changed = [prefill.model_copy(update={"ports": ports}), decode.model_copy(update={"env": env})]
    red = {"test_role_runs_and_answers_on_its_port prefill-0", "test_environment_is_the_plans decode-0"}
    return plan.model_copy(update={"roles": [*changed, plan.router]}), red


def with_lease(role: RolePlan, seconds: int) -> RolePlan:
    """The role; an engine with leases of KV that end after so many seconds."""
    if role.role == "router":
        return role
    at = role.argv.index("--kv-transfer-config") + 1
    config = json.loads(role.argv[at])
    extra = config.get("kv_connector_extra_config", {}) | {"kv_lease_duration": seconds}
    config |= {"kv_connector_extra_config": extra}
    return role.model_copy(update={"argv": [*role.argv[:at], json.dumps(config), *role.argv[at + 1 :]]})


@contextmanager
def kit() -> Iterator[Kit]:
    """A kit whose topology is down at the end, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="hpd-") as folder:
        one = Kit(Path(folder).resolve())
        try:
            yield one
        finally:
            one.run("down", timeout_s=180)


def _bound(stack: ExitStack, port: int) -> int:
    one = stack.enter_context(socket.socket())
    one.bind(("127.0.0.1", port))
    bound: int = one.getsockname()[1]
    return bound


def _shared_memory() -> list[str]:
    return [file.name for file in SHARED_MEMORY.iterdir()]
