"""Drills on a second start beside what runs: it must be refused in one line, and harm nothing."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from heteropd.drills.model import CannotBePerformed
from heteropd.drills.session import DrillSession
from heteropd.errors import EXIT_BAD_INPUT, Interrupted, KitError
from heteropd.plan.model import Plan, Ports
from heteropd.topology import Context, up

_SMALL_MB = 8


def ports_taken(stage: DrillSession) -> None:
    """The same plan from another state folder: its ports are taken."""
    with tempfile.TemporaryDirectory(prefix="hpd-drill-") as folder:
        _refused(stage, stage.plan, replace(stage.context, state_dir=Path(folder)), "in use by")


def disk_full(stage: DrillSession) -> None:
    """The same plan on ports of its own, with its state folder on a file system that has no room."""
    plan = stage.plan
    roles = [role.model_copy(update={"ports": Ports(api=_free_port())}) for role in plan.roles]
    with _small_disk() as folder:
        context = replace(stage.context, state_dir=folder, memory_gib=0.0)
        _refused(stage, plan.model_copy(update={"roles": roles}), context, "GiB free")


def _refused(stage: DrillSession, plan: Plan, context: Context, word: str) -> None:
    before = [(role.name, role.process) for role in stage.topology.roles]
    stage.fault(f"{plan.case} started again, state in {context.state_dir}")
    began = stage.clock.now()
    try:
        up(plan, context)
    except Interrupted:
        raise
    except KitError as refusal:
        good = refusal.exit_code == EXIT_BAD_INPUT and word in str(refusal)
        stage.saw("the second start", f"exit status {refusal.exit_code}: {refusal}", good=good)
    else:
        stage.saw("the second start", "was not refused", good=False)
    stage.answered_s = stage.clock.now() - began
    left = sorted(path.name for path in context.state_dir.iterdir() if path.name != "lock")
    stage.saw("left behind", ", ".join(left) or "nothing", good=not left)
    same = before == [(role.name, role.process) for role in stage.topology.roles]
    stage.saw("what ran", "runs on" if same else "is not what it was", good=same)
    stage.whole("afterwards")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _small_disk() -> Iterator[Path]:
    """A file system of a few megabytes, where this user may mount one."""
    with tempfile.TemporaryDirectory(prefix="hpd-drill-") as folder:
        words = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_MB}m,mode=0700", "heteropd-drill", folder]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotBePerformed(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)
