"""From a topology that runs to a verdict that is shown and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from heteropd.config.validation import load
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput, KitError
from heteropd.proof import report
from heteropd.proof.model_files import read_files
from heteropd.proof.run import ProofOptions, run
from heteropd.topology import Context, Topology

_LOCK = ".validating"


def prove(topology: Topology, context: Context, *, thorough: bool = False, came_up: bool = False) -> int:
    """Validate what runs, show the verdict, then keep it: 0 or 1.

    It is shown first: a full disk must not lose it. ``came_up``: it did just now, so say what to do next.
    Raises BadInput while another does the same.
    """
    plan, console = topology.plan, context.console
    folder = context.state_dir / "reports"
    with _alone(folder):
        files = read_files(topology, context, thorough=thorough)
        options = ProofOptions(thorough=thorough, logs=partial(_log, topology), files=files)
        verdict = run(plan, load(context.root), context.clock, console, options)
    report.show(verdict, console)
    try:
        kept = report.keep(verdict, plan, folder)
        console.print(f"Report: {kept.markdown}", soft_wrap=True, highlight=False)
    except OSError as problem:
        console.print(f"the report could not be kept in {folder}: {problem.strerror}", soft_wrap=True)
    if came_up:
        report.show_next(verdict, plan, console)
    return EXIT_OK if verdict.passed else EXIT_FAILED


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two at once would count each other's requests. The kernel frees the lock when we die."""
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise BadInput(
            "this topology", None, None, "another validation of it is under way", "wait for its verdict"
        ) from None
    except OSError:  # a full disk takes no lock
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _log(topology: Topology, name: str) -> str | None:
    """What an engine logged, None where that cannot be read."""
    try:
        role = topology.role(name)
        role.refresh_log()
        return role.log.read_text(encoding="utf-8", errors="replace")
    except (OSError, KitError):
        return None
