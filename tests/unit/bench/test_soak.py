"""What a soak concludes: each thing that goes wrong over time is a FAIL, and nothing else is."""

import io
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from rich.console import Console

from heteropd.bench import results, soak
from heteropd.bench.soak import Traffic, _sample, complete
from heteropd.bench.soak_findings import findings_of, growth
from heteropd.bench.soak_page import _memory, _rates, render_page
from heteropd.bench.soak_result import Sample, SoakResult
from heteropd.config import bench
from heteropd.config.machine import Machine
from heteropd.engine_api.client import AnswerProblem, Endpoint, EngineClient
from heteropd.errors import EXIT_INTERRUPTED
from heteropd.system import SystemClock
from heteropd.topology import Context
from labs import chromium
from plan_words import make

ROOT = Path(__file__).parents[3]


def samples(slope: float = 0.0, **last: int) -> list[Sample]:
    """Ten minutes that begin with a jump, which is no growth."""
    counts = {"requests": 50, "failed": 0, "known": 10, "differs": 0}
    found = [
        Sample(at_s=60.0 * at, memory_mib={"prefill-0": 1000.0 * (at > 0) + slope * at}, **counts)
        for at in range(11)
    ]
    return [*found[:-1], found[-1].model_copy(update=last)]


def failed(taken: list[Sample], counted: dict[str, int] | None) -> list[str]:
    settings = bench.load(ROOT).soak
    return [finding.id for finding in findings_of(taken, counted, settings) if finding.status == "FAIL"]


def test_steady_memory_and_right_answers_pass() -> None:
    assert failed(samples(), {"expired": 0}) == []
    assert growth(samples(40.0), "prefill-0") == pytest.approx(40.0)
    assert growth(samples()[:1], "prefill-0") == 0


@pytest.mark.parametrize(
    ("taken", "counted", "check"),
    [
        (samples(40.0), {}, "soak.memory"),
        (samples(failed=1), {}, "soak.answered"),
        (samples(differs=1), {}, "soak.known"),
        (samples(), {"expired": 1}, "soak.transfers"),
        (samples(), None, "soak.transfers"),
    ],
)
def test_what_goes_wrong_fails(taken: list[Sample], counted: dict[str, int] | None, check: str) -> None:
    assert failed(taken, counted) == [check]


def test_memory_that_is_not_seen_from_here_is_skipped_and_never_passed() -> None:
    unseen = [
        sample.model_copy(update={"memory_mib": {**sample.memory_mib, "decode-0": None}})
        for sample in samples()
    ]
    settings = bench.load(ROOT).soak
    memory = [finding for finding in findings_of(unseen, {}, settings) if finding.id == "soak.memory"]
    assert [finding.status for finding in memory] == ["PASS", "SKIP"]
    assert memory[1].text == "decode-0's memory is not known: its processes are not seen from this machine"
    role: Any = SimpleNamespace(name="decode-0", tops=set)
    running: Any = SimpleNamespace(roles=[role])
    traffic: Any = SimpleNamespace(requests=1, failed=0, asked=0, differs=0)
    assert _sample(running, traffic, 1.0).memory_mib == {"decode-0": None}


def engine(*, tokens: int = 8) -> Endpoint:
    """Answers with the length of the prompt."""

    def answer(request: httpx.Request) -> httpx.Response:
        body: dict[str, Any] = json.loads(request.content)
        text = str(len(body["prompt"]))
        return httpx.Response(200, json={"choices": [{"text": text}], "usage": {"completion_tokens": tokens}})

    return Endpoint(EngineClient(transport=httpx.MockTransport(answer)), "router", "http://router", 5)


def test_clients_count_known_answers_that_are_others() -> None:
    clock, settings = SystemClock(), bench.load(ROOT).soak.model_copy(update={"known_share": 1.0})
    known = {(1, 2): "2", (1, 2, 3): "not 3"}
    traffic = Traffic(engine(), "m", settings, [1, 2], known, clock, clock.now() + 0.3)
    traffic.client(0)
    assert traffic.asked == traffic.requests > 0
    assert 0 < traffic.differs < traffic.asked
    assert traffic.failed == 0


def test_a_router_that_is_gone_is_not_asked_thousands_of_times_a_second() -> None:
    clock, settings = SystemClock(), bench.load(ROOT).soak
    traffic = Traffic(engine(tokens=0), "m", settings, [1, 2], {(1,): ""}, clock, clock.now() + 0.6)
    traffic.problems = ["before"] * 19
    traffic.client(0)
    assert 1 <= traffic.failed == traffic.requests <= 3
    assert (len(traffic.problems), traffic.problems[-1][:7]) == (20, "router:")


def test_an_answer_of_another_length_is_no_answer() -> None:
    with pytest.raises(AnswerProblem, match="an answer of 3 tokens, not 8"):
        complete(engine(tokens=3), "m", [1], 8)


@pytest.mark.parametrize("slope", [0.0, 40.0])
def test_the_page_shows_findings_memory_and_traffic_in_a_browser(
    slope: float, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = bench.load(ROOT).soak
    taken = [sample.model_copy(update={"requests": 50 * at}) for at, sample in enumerate(samples(slope))]
    result = SoakResult(
        started=datetime(2026, 1, 2, tzinfo=UTC),
        seconds=660,
        case="case1",
        standin=True,
        machine=results.machine(),
        settings=settings,
        samples=taken,
        problems=["router: <no answer>"],
        findings=findings_of(taken, {}, settings),
    )
    page = tmp_path / "soak.html"
    page.write_text(render_page(result))
    text = page.read_text()
    assert f'<header class="{"FAIL" if slope else "PASS"}">' in text
    assert "router: &lt;no answer&gt;" in text
    assert ">prefill-0</text>" in text.split("<h2>Memory")[1]
    assert ">requests a minute</text>" in text.split("<h2>Traffic")[1]
    program = chromium.find(tmp_path_factory.getbasetemp().parent)
    opened = chromium.open_page(program, page, tmp_path, height=1400)
    assert (opened.blank, opened.console, opened.requests) == (False, [], [])


def test_an_interrupted_soak_writes_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make(["case1"], ROOT, Machine(cores=[0, 1]))
    running: Any = SimpleNamespace(plan=plan, url="http://router", roles=[], dead=list)
    main = threading.current_thread()

    class Impatient(SystemClock):
        """Of a user who ends the soak at its third look."""

        looks = 0

        def sleep(self, seconds: float) -> None:
            if threading.current_thread() is not main:
                return super().sleep(seconds)
            self.looks += 1
            if self.looks == 3:
                raise KeyboardInterrupt
            return super().sleep(0.1)

    def answer(*_: object) -> str:
        SystemClock().sleep(0.01)
        return "x"

    monkeypatch.setattr(soak.topologies, "running", lambda _: running)
    monkeypatch.setattr(soak, "complete", answer)
    monkeypatch.setattr(soak, "memory_mib", lambda _: 1.0)
    monkeypatch.setattr(soak.Reading, "take", lambda *_: None)
    monkeypatch.setattr(Endpoint, "tokenize", lambda *_, **__: [1, 2])
    context = Context(ROOT, Console(file=io.StringIO()), clock=Impatient(), state_dir=tmp_path)
    assert soak.run({}, context) == EXIT_INTERRUPTED
    [file] = (tmp_path / "bench").glob("soak-*.json")
    result = SoakResult.model_validate_json(file.read_text())
    found = {finding.id: finding for finding in result.findings}
    assert not result.passed
    assert (len(result.samples), result.samples[-1].requests > 0) == (3, True)
    assert found["soak.interrupted"].text == "interrupted after 0.0 of 30 minutes: no verdict"
    assert found["soak.transfers"].status == "SKIP"
    assert "interrupted after" in file.with_suffix(".html").read_text()


def soaked(taken: list[tuple[float, int]]) -> SoakResult:
    """Of samples: seconds and requests until then."""
    samples = [
        Sample(at_s=at_s, memory_mib={"prefill-0": 100}, requests=requests, failed=0, known=0, differs=0)
        for at_s, requests in taken
    ]
    return SoakResult(
        started=datetime(2026, 1, 2, tzinfo=UTC), seconds=9, case="case1", standin=False, machine={},
        settings=bench.load(ROOT).soak, samples=samples, problems=[], findings=[],
    )  # fmt: skip


def test_a_soak_of_one_sample_makes_a_page_too() -> None:
    result = soaked([(10, 20)])
    assert "on hardware" in render_page(result)
    for sample in result.samples:
        sample.memory_mib["prefill-0"] = None
    assert "<h2>Memory" not in render_page(result)


def test_traffic_is_drawn_from_the_start_and_no_sliver_at_the_end_as_a_rate() -> None:
    result = soaked([(10, 20), (20, 50), (20.1, 51)])
    drawn = [(rate["minute"], rate["rate"]) for rate in _rates(result) if rate["what"] == "all"]
    assert drawn == [(0, 120), (pytest.approx(1 / 6), 120), (pytest.approx(1 / 3), 180)]


def test_growth_that_is_allowed_is_drawn_from_the_middle_on() -> None:
    result = soaked([(60, 1), (120, 2), (180, 3)])
    assert [row.get("allowed") for row in _memory(result)] == [None, 100, 100 + result.settings.growth_mib]
