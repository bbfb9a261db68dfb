"""guidellm as a process: what it answers, that it failed, that it died. A program stands for it."""

import sys
from collections.abc import Iterator
from multiprocessing import Value
from pathlib import Path
from typing import Any

import pytest

from heteropd.bench.children import Children
from heteropd.bench.load.generator import Generator
from heteropd.bench.peers.guidellm_levels import keep_schedule
from heteropd.bench.workspace import BenchWorkspace
from heteropd.errors import KitError
from heteropd.system import LocalRunner, SystemClock

PROGRAM = """
import json, pathlib, sys, time
folder, number = pathlib.Path(sys.argv[1]), 0
while True:
    for file in folder.glob("*.scenario.json"):
        scenario = json.loads(file.read_text()); file.unlink(); number += 1
        if scenario.get("die"):
            sys.exit("no more")
        answer = {"error": "HTTP 404"} if scenario.get("fail") else {"requests": [{"number": number}]}
        part = folder / "part"; part.write_text(json.dumps(answer))
        part.replace(folder / file.name.replace(".scenario.", ".requests."))
    time.sleep(0.02)
"""


@pytest.fixture
def generator(tmp_path: Path) -> Iterator[Generator]:
    with Children("run", BenchWorkspace(tmp_path, LocalRunner(), SystemClock())) as children:
        folder = children.folder / "scenarios"
        folder.mkdir()
        children.start("guidellm", [sys.executable, "-c", PROGRAM, str(folder)])
        yield Generator("1", folder, children)


def test_levels_of_one_name_have_answers_of_their_own(generator: Generator) -> None:
    first, second = (generator.run("pd-2", {}, 30) for _ in range(2))
    assert (first, second) == ([{"number": 1}], [{"number": 2}])


@pytest.mark.parametrize(("scenario", "words"), [({"fail": True}, "HTTP 404"), ({"die": True}, "no more")])
def test_a_generator_that_fails_or_dies_is_said(
    generator: Generator, scenario: dict[str, Any], words: str
) -> None:
    with pytest.raises(KitError, match=words):
        generator.run("pd-1", scenario, 30)


def test_workers_are_woken_when_arrivals_have_a_beginning() -> None:
    seen = []

    class Base:
        """guidellm's strategies, whose start wakes the workers."""

        def __init__(self) -> None:
            self._offset = Value("d", -1.0)

        def init_processes_start(self, start_time: float) -> None:
            seen.append((self._offset.value, start_time))

    class Poisson(Base):
        """Theirs, that wakes them too early."""

        def init_processes_start(self, start_time: float) -> None:
            super().init_processes_start(start_time)
            self._offset.value = start_time

    Poisson().init_processes_start(7.0)
    keep_schedule(Poisson, Base)
    Poisson().init_processes_start(8.0)
    assert seen == [(-1.0, 7.0), (8.0, 8.0)]
