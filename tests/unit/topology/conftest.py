"""A topology of three stub servers, a context for it, and the proof that nothing of it is left."""

import io
import itertools
import os
import random
import signal
import sys
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.errors import KitError
from heteropd.plan.model import HostPlan, Plan, Ports, RolePlan
from heteropd.processes.process_tree import GUARD_TAG, tagged
from heteropd.system import SystemClock
from heteropd.topology import Context, InterruptScope, Timeouts, down, up
from heteropd.topology.checks import free

STUB = Path(__file__).with_name("stub.py")
HOST = HostPlan(name="here", address="127.0.0.1")
LIMIT_S = 60.0


def eventually(condition, what, limit_s=LIMIT_S):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.02)


def free_ports(count):
    """Below the range from which the kernel takes ports for connections: those may be gone a moment later."""
    ports = (random.randrange(10_000, 32_000) for _ in range(1000))
    return list(itertools.islice(filter(free, ports), count))


def make_plan(ports, prefill=(), decode=(), router=(), env=None, **changes):
    def role(name, port, flags, platform, runs_on):
        argv = [sys.executable, "-S", "-E", str(STUB), "--port", str(port), *flags]
        return RolePlan(
            name=name,
            role=name.removesuffix("-0"),
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
            role("prefill-0", ports[0], prefill, "cuda", "cpu"),
            role("decode-0", ports[1], decode, "gaudi", "cpu"),
            role("router", ports[2], router, "router", "router"),
        ],
    }
    return Plan(**{**values, **changes})


class Forked:
    """A command in a process of its own. Forked, not started: importing everything again takes a second."""

    def __init__(self, command):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                # A test run under nohup, or in a shell's background, inherits ignored signals.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for signum in (signal.SIGTERM, signal.SIGHUP):
                    signal.signal(signum, signal.SIG_DFL)
                os.dup2(writer, 1)
                os.dup2(writer, 2)
                os.close(reader)
                os.close(writer)
                code = self._run(command)
            finally:
                os._exit(code)  # never back into the test run
        os.close(writer)
        self.out = os.fdopen(reader)
        self.code = None

    def _run(self, command):
        sys.stdout = sys.stderr = os.fdopen(os.dup(1), "w", buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
        try:
            print("command started", flush=True)
            return command()
        except BaseException:
            traceback.print_exc()
            return 70

    def until(self, word):
        said = []
        for line in self.out:
            said.append(line)
            if word in line:
                return
        raise AssertionError(f"ended without saying {word!r}: {''.join(said)}")

    def send(self, signum):
        os.kill(self.pid, signum)

    def ended(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def end(self):
        """Wait; returns the exit status and the rest of what was said."""
        eventually(self.ended, "the command ends")
        with self.out:
            return self.code, self.out.read()


@dataclass
class Kit:
    """What a test holds: a context whose output it can read, and three ports."""

    context: Context
    ports: list[int]
    fork = staticmethod(Forked)
    eventually = staticmethod(eventually)

    @property
    def state_dir(self):
        return self.context.state_dir

    def plan(self, **flags):
        return make_plan(self.ports, **flags)

    def said(self):
        return self.context.console.file.getvalue()

    def with_timeouts(self, **seconds):
        return replace(self.context, timeouts=replace(self.context.timeouts, **seconds))

    def late_once(self, word):
        """A context whose time runs out as soon as this was said, however slow the machine is."""

        def late():
            logs = [self.context.log(role) for role in ("prefill-0", "decode-0", "router")]
            return word in self.said() and all(log.stat().st_size for log in logs)

        class Clock(SystemClock):
            def now(self):
                return super().now() + (1e6 if late() else 0.0)

        return replace(self.context, clock=Clock(), timeouts=replace(self.context.timeouts, heartbeat=0.0))

    def start(self, plan, work=lambda: None):
        """`up` and then ``work`` in a process of its own."""
        return Forked(lambda: self._command(plan, work))

    def _command(self, plan, work):
        context = replace(self.context, console=Console(width=200, force_terminal=False))
        try:
            with InterruptScope(context) as scope:
                up(plan, context, scope=scope)
                work()
        except KitError as stop:
            print(f"{type(stop).__name__}: {stop}", flush=True)
            return stop.exit_code
        return 0

    def tagged(self):
        return tagged(self.state_dir)

    def processes(self):
        return tagged(self.state_dir) | tagged(self.state_dir, variable=GUARD_TAG)

    def assert_nothing_left(self):
        """Processes, guards, ports, temporary folders and state: all gone, if need be after a moment."""
        eventually(lambda: not self.processes(), f"processes left: {self.processes()}")
        for port in self.ports:
            eventually(lambda port=port: free(port), f"port {port} in use")
        eventually(lambda: not self.context.tmp_root.exists(), f"{self.context.tmp_root} left")
        eventually(lambda: self.files() <= {"lock", "logs"}, f"files left: {self.files()}")

    def files(self):
        return {path.name for path in self.state_dir.iterdir()}


@pytest.fixture
def kit(tmp_path):
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    timeouts = Timeouts(ready=LIMIT_S, stop=10.0, health=LIMIT_S, token=LIMIT_S, poll=0.02)
    context = Context(root=tmp_path, console=console, timeouts=timeouts, memory_gib=0.01, disk_gib=0.001)
    held = Kit(context, free_ports(3))
    yield held
    down(held.with_timeouts(stop=0.1))
    assert not tagged(held.state_dir)
