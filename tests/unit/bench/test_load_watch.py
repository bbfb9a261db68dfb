"""A load whose engines die or hang ends soon, as an INVALID result that names the first cause."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from heteropd.bench.load import command
from heteropd.bench.load import run as load_run
from heteropd.bench.load.model import LoadResult
from heteropd.bench.load.report import write_report
from heteropd.bench.load.run import LoadSession
from heteropd.bench.load.watch import Watch
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import bench
from heteropd.config.machine import Machine
from heteropd.engine_api.client import AnswerProblem
from heteropd.errors import KitError
from heteropd.proof.session import Stalled
from heteropd.system import LocalRunner, SystemClock
from plan_words import make

ROOT = Path(__file__).parents[3]
EXAMPLE = LoadResult.model_validate_json((Path(__file__).parent / "load-example.json").read_text())


class Probe:
    """Engines that compute as ``work`` says, one look a second."""

    def __init__(self, work: Iterator[list[int | None] | None]) -> None:
        self.at, self._work = 0.0, work
        self.clock = SimpleNamespace(now=lambda: self.at)

    def work_done(self) -> list[int | None] | None:
        return next(self._work)

    def first_cause(self) -> str:
        return "decode-0: no answer"


def watched(work: Callable[[int], list[int | None] | None], dead: Callable[[], list[str]] = list) -> float:
    """Seconds until the watch ends a level, of 100."""
    probe = Probe(map(work, range(1000)))
    topology: Any = SimpleNamespace(dead=dead)
    watch = Watch(topology, probe, 40)  # type: ignore[arg-type]
    for _ in range(100):
        probe.at += 1
        watch()
    return probe.at


def test_engines_that_compute_are_left_alone() -> None:
    assert watched(lambda look: [look]) == 100


@pytest.mark.parametrize("work", [lambda look: [min(look, 2)], lambda _look: None])
def test_engines_that_hang_are_noticed_in_time(work: Callable[[int], list[int | None] | None]) -> None:
    with pytest.raises(Stalled, match="decode-0: no answer"):
        watched(work)


def test_a_role_that_dies_is_named() -> None:
    with pytest.raises(KitError, match=r"decode-0 died \(`make logs role=decode-0`\)"):
        watched(lambda look: [look], lambda: ["decode-0"])


@pytest.mark.parametrize(
    ("problem", "dead", "words"),
    [
        (AnswerProblem("prefill-0: connection refused"), ["prefill-0"], "prefill-0 died"),
        (Stalled("decode-0 computes no token"), [], "decode-0 computes no token"),
        (KitError("bench: guidellm died: killed"), [], "guidellm died"),
    ],
)
def test_a_load_that_breaks_off_is_an_invalid_result(
    problem: Exception, dead: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make(["case1"], ROOT, Machine(cores=[0, 1]))
    results = iter([EXAMPLE.arms[0].levels[0]])

    def level(*_: object) -> object:
        for found in results:
            return found
        raise problem

    monkeypatch.setattr(LoadSession, "level", level)
    monkeypatch.setattr(load_run, "_summary", lambda _: EXAMPLE.verdicts["before"])
    monkeypatch.setattr(load_run, "_engines", lambda *_: EXAMPLE.engines)
    settings, anything = bench.load(ROOT), SimpleNamespace(version="1")
    topology = SimpleNamespace(plan=plan, fingerprint="f", dead=lambda: dead)
    workspace = BenchWorkspace(tmp_path, LocalRunner(), SystemClock(), Console(file=io.StringIO()))
    made: Any = LoadSession
    profile = settings.profiles["smoke"]
    session = made("smoke", profile, topology, (1, 1), [], {}, [], anything, anything, workspace, None)
    arms, broke_off = session.measure()
    before: Any = SimpleNamespace(note=None)
    result = session.conclude(arms, before, None, datetime(2026, 1, 2, tzinfo=UTC), broke_off)
    assert not result.validity.valid
    assert result.validity.reasons[0].startswith("the load broke off: aggregated: ")
    assert words in result.validity.reasons[0]
    stream = io.StringIO()
    command.show(result, Console(file=stream, width=200))
    assert "INVALID" in stream.getvalue()
    page = write_report(result, tmp_path / "load.json")[1].read_text()
    assert words in page
