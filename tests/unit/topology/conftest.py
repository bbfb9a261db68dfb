"""A topology of three stub servers, a context for it, and the proof that nothing of it is left."""

import io
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

import heteropd
from heteropd.plan.model import HostPlan, Plan, Ports, RolePlan
from heteropd.runtime.family import GUARD_MARK, marked
from heteropd.topology import Context, Timeouts, down
from heteropd.topology.ports import free

STUB = Path(__file__).with_name("stub.py")
KIT = Path(__file__).with_name("kit.py")
HOST = HostPlan(name="here", address="127.0.0.1")
LIMIT_S = 60.0


def eventually(condition, what, limit_s=LIMIT_S):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.02)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def make_plan(ports, prefill=(), decode=(), router=(), env=None, **changes):
    def role(name, kind, port, flags, platform, runs_on):
        argv = [sys.executable, "-S", "-E", str(STUB), "--port", str(port), *flags]
        return RolePlan(
            name=name,
            role=kind,
            platform=platform,
            runs_on=runs_on,
            host=HOST,
            env=dict(env or {}),
            argv=argv,
            ports=Ports(api=port),
        )

    values = {
        "case": "case1",
        "pins": "stub",
        "variant": "base",
        "runtime": "process",
        "model": "stub-model",
        "model_source": "package:stub",
        "parameters": {"prefill_port": ports[0], "decode_port": ports[1], "port": ports[2]},
        "agreed_block_size": None,
        "roles": [
            role("prefill-0", "prefill", ports[0], prefill, "cuda", "cpu"),
            role("decode-0", "decode", ports[1], decode, "gaudi", "cpu"),
            role("router", "router", ports[2], router, "router", "router"),
        ],
    }
    return Plan(**{**values, **changes})


@dataclass
class Kit:
    """What a test holds: a context whose output it can read, and three ports."""

    context: Context
    ports: list[int]

    @property
    def state_dir(self):
        return self.context.state_dir

    def plan(self, **flags):
        return make_plan(self.ports, **flags)

    def said(self):
        return self.context.console.file.getvalue()

    def with_timeouts(self, **seconds):
        return replace(self.context, timeouts=replace(self.context.timeouts, **seconds))

    def argv(self, plan, *words):
        path = self.context.root / "plan.json"
        path.write_text(plan.model_dump_json())
        source = str(Path(heteropd.__file__).parents[1])
        return [sys.executable, str(KIT), source, str(self.context.root), str(path), *words]

    def start(self, plan, *words):
        """The kit in a process of its own, as `up` on a command line."""
        argv = self.argv(plan, *words)
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def marked(self):
        return marked(self.state_dir)

    def processes(self):
        return marked(self.state_dir) | marked(self.state_dir, variable=GUARD_MARK)

    def assert_nothing_left(self):
        """Processes, guards, ports, temporary folders and state: all gone, if need be after a moment."""
        eventually(lambda: not self.processes(), f"processes left: {self.processes()}")
        for port in self.ports:
            eventually(lambda port=port: free(port), f"port {port} in use")
        eventually(lambda: self.files() <= {"lock", "logs"}, f"files left: {self.files()}")

    def files(self):
        return {path.name for path in self.state_dir.iterdir()}


@pytest.fixture
def kit(tmp_path):
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    timeouts = Timeouts(ready=LIMIT_S, stop=10.0, health=5.0, poll=0.05)
    context = Context(root=tmp_path, console=console, timeouts=timeouts, memory_gib=0.01, disk_gib=0.001)
    held = Kit(context, free_ports(3))
    yield held
    down(held.with_timeouts(stop=0.1))
    assert not marked(held.state_dir)
