"""From a topology that runs to a verdict that is shown and kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from heteropd.config.validation import load
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput
from heteropd.plan.model import Plan
from heteropd.proof import report
from heteropd.proof.elsewhere import Given, plan_elsewhere
from heteropd.proof.model_files import read_files
from heteropd.proof.run import ProofOptions, run
from heteropd.proof.verdict import Verdict
from heteropd.topology import Context, Topology
from heteropd.topology.lock import holder, locked

_LOCK = ".validating"


def prove(topology: Topology, context: Context, *, thorough: bool = False, came_up: bool = False) -> int:
    """Validate what runs, show the verdict, then keep it: 0 or 1.

    It is shown first: a full disk must not lose it. ``came_up``: it did just now, so say what to do next.
    Raises BadInput while another does the same.
    """
    verdict = judge(topology, context, thorough=thorough)
    if came_up:
        report.show_next(verdict, topology.plan, context.console)
    return EXIT_OK if verdict.passed else EXIT_FAILED


def judge(topology: Topology, context: Context, *, thorough: bool = False) -> Verdict:
    """The verdict on what runs, shown and kept. Raises BadInput while another does the same."""

    def options() -> ProofOptions:
        files = read_files(topology, context, thorough=thorough)
        return ProofOptions(thorough=thorough, logs=lambda name: topology.role(name).read_log(), files=files)

    return _judged(topology.plan, context, options)


def fresh_verdict(topology: Topology, context: Context, most_s: float) -> Verdict | None:
    """The newest verdict that is kept, if it is of these very processes and not older than that."""
    try:
        verdict = Verdict.model_validate_json((context.state_dir / "reports" / "verdict.json").read_text())
    except (OSError, ValueError):
        return None
    age = (context.clock.wall() - verdict.started_at).total_seconds() - verdict.seconds
    started = [role.started for role in topology.roles]
    ours = verdict.fingerprint == topology.plan.fingerprint()
    ours = ours and all(start is not None and start < verdict.started_at for start in started)
    return verdict if ours and age < most_s else None


def prove_elsewhere(given: Given, context: Context, *, thorough: bool = False) -> int:
    """Validate a topology that the kit did not start; nothing of it is started, ended or read but over HTTP.

    Raises BadInput for what is missing, and while another validation of this checkout runs.
    """
    verdict = _judged(plan_elsewhere(given), context, lambda: ProofOptions(thorough=thorough))
    return EXIT_OK if verdict.passed else EXIT_FAILED


def _judged(plan: Plan, context: Context, options: Callable[[], ProofOptions]) -> Verdict:
    """Prove, show, then keep."""
    console, folder = context.console, context.state_dir / "reports"
    with _alone(folder):
        verdict = run(plan, load(context.root), context.clock, console, options())
    report.show(verdict, console)
    try:
        kept = report.keep(verdict, plan, folder)
        console.print(f"Report: {kept.markdown}", soft_wrap=True, highlight=False)
        console.print(f"Page:   {kept.page}", soft_wrap=True, highlight=False)
    except OSError as problem:
        console.print(f"the report could not be kept in {folder}: {problem.strerror}", soft_wrap=True)
    return verdict


@contextmanager
def measuring(context: Context, command: str) -> Iterator[None]:
    """What runs is neither changed nor measured by another command meanwhile, nor asked for a token by
    `status`; verdicts may be made under it. Raises BadInput while another command is at work on it."""
    with locked(context.state_dir, command, context.clock), _alone(context.state_dir / "reports"):
        yield


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two at once would count each other's requests. The kernel frees the lock when we die.

    It may be held around itself: a command that measures makes verdicts.
    """
    lock = FileLock(folder / _LOCK, is_singleton=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        measured = holder(folder.parent)
        problem = f"is being measured{measured}" if measured else "another validation of it is under way"
        raise BadInput("this topology", None, None, problem, "wait for its verdict") from None
    except OSError:  # a full disk takes no lock
        yield
        return
    try:
        yield
    finally:
        lock.release()
