"""The two seams to the outside: one runs commands, one reads the clock. Tests replace them."""

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Completed:
    """What a finished command left behind. ``code`` is the exit status, 127 when it was not found."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """What it said last on stderr, in one line; its exit status where it said nothing."""
        return " ".join(self.err.split())[-300:] or f"exit status {self.code}"


# Of a user's PYTHON… variables, those that change nothing that the kit does.
_HARMLESS = (
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONIOENCODING",
)


def write_whole(file: Path, text: str) -> None:
    """Write a file, whole or not at all, and make its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def without_python_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without the user's PYTHONPATH, PYTHONHOME, PYTHONSTARTUP and the like."""
    return {
        name: value for name, value in environ.items() if not name.startswith("PYTHON") or name in _HARMLESS
    }


def own_python(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a Python that runs modules of the kit: this very package, whatever is installed."""
    return {**without_python_settings(environ), "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


class CommandRunner(Protocol):
    """Runs commands on one machine."""

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 60.0
    ) -> Completed:
        """Run to the end and return; never raises for a non-zero exit or a missing program."""
        ...

    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path) -> int:
        """Start in a process group of its own, both streams appended to ``log``; returns the pid."""
        ...

    def show(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        """Run attached to our own terminal, for long work with progress of its own; the exit status."""
        ...


class Clock(Protocol):
    """Time, in seconds. ``now`` is monotonic and only good for differences."""

    def now(self) -> float: ...

    def wall(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class LocalRunner:
    """Runs commands on this machine."""

    def __init__(self) -> None:
        # Kept, or subprocess would reap a child that has died and its exit status were lost.
        self._children: list[subprocess.Popen[bytes]] = []

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 60.0
    ) -> Completed:
        try:
            done = subprocess.run(
                list(argv),
                env=env,
                timeout=timeout_s,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except FileNotFoundError as missing:
            return Completed(tuple(argv), 127, "", str(missing))
        except subprocess.TimeoutExpired as late:
            out = late.stdout if isinstance(late.stdout, str) else ""
            return Completed(tuple(argv), 124, out, f"no answer within {timeout_s:g} s")
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)

    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path) -> int:
        with log.open("ab") as stream:
            child = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(child)
        return child.pid

    def show(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        try:
            return subprocess.run(list(argv), env=env, stdin=subprocess.DEVNULL, check=False).returncode
        except FileNotFoundError:
            return 127


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], at_once: int | None = None
) -> list[Result]:
    """``function`` of every item, all ``at_once`` unless that says how many, in a thread each; results in
    order. Raises what one raises."""
    todo = list(items)
    with ThreadPoolExecutor(max_workers=max(min(len(todo), at_once or len(todo)), 1)) as pool:
        return list(pool.map(function, todo))
