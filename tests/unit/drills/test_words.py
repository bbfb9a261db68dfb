"""What is stated, what is reported, and the page that has both."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from heteropd import ucx
from heteropd.cli.main import main
from heteropd.config.drills import DrillEntry
from heteropd.config.drills import load as load_drills
from heteropd.config.machine import Machine
from heteropd.drills import report, run
from heteropd.drills.model import DrillResult, Observation
from heteropd.errors import EXIT_BAD_INPUT, BadInput
from plan_words import make

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / report.CATALOGUE.page).read_text(encoding="utf-8")
EVIDENCE = (ROOT / report.EVIDENCE.page).read_text(encoding="utf-8")


def result(name="decode-killed", status="held", **changes):
    common = {"case": "case1", "runtime": "process", "standin": True, "hosts": 1}
    at = datetime(2026, 11, 22, tzinfo=UTC)
    return DrillResult(name=name, status=status, at=at, **{**common, **changes})


def test_the_page_states_what_the_catalogue_says() -> None:
    assert report.CATALOGUE.filled(PAGE, report.catalogue(load_drills(ROOT))) == PAGE, "run make schema"


def test_the_page_states_every_fault() -> None:
    for name, one in load_drills(ROOT).drills.items():
        assert f"### {name}\n" in PAGE
        assert (one.instead is None) == (one.bound_s is not None)


def test_a_drill_has_a_bound_or_a_reason() -> None:
    words = {"title": "a", "sees": "b", "kit": "c", "recover": "d"}
    DrillEntry(**words, bound_s=1.0)
    for wrong in ({}, {"bound_s": 1.0, "instead": "x"}):
        with pytest.raises(ValidationError, match="neither or both"):
            DrillEntry(**words, **wrong)


def test_results_are_kept_by_drill_and_place(tmp_path) -> None:
    report.keep([result(seconds=1.0), result("router-killed")], tmp_path)
    kept = report.keep([result(seconds=2.0), result(seconds=3.0)], tmp_path)
    assert [(one.name, one.seconds) for one in kept] == [
        ("router-killed", 0.0),
        ("decode-killed", 2.0),
        ("decode-killed", 3.0),
    ]
    kept = report.keep([result(runtime="docker")], tmp_path)
    assert len(kept) == 4
    (tmp_path / report.FILE).write_text("not JSON")
    assert len(report.keep([result()], tmp_path)) == 1


def test_a_skip_does_not_hide_what_was_seen_before(tmp_path) -> None:
    report.keep([result()], tmp_path)
    kept = report.keep([result(status="skipped", why="no")], tmp_path)
    assert [one.status for one in kept] == ["held", "skipped"]


def test_the_table_of_the_page_says_what_broke(tmp_path) -> None:
    page = tmp_path / report.EVIDENCE.page
    page.parent.mkdir(parents=True)
    page.write_text(EVIDENCE)
    seen = [
        Observation(what="fault", says="x killed"),
        Observation(what="left behind", says="nothing"),
        Observation(what="a new request", says="HTTP 503: a | b", seconds=0.1),
        Observation(what="a new request", says="HTTP 503: a | b", seconds=0.2),
        Observation(what="the stream", says="not the healthy answer", good=False),
    ]
    broken = result(status="broken", seen=seen, answered_s=1.25, fixed_s=60.0)
    drills = load_drills(ROOT)
    report.export_results(tmp_path, [broken, result("partition", "skipped", why="needs hosts")], drills)
    (row,) = (
        line for line in page.read_text().splitlines() if line.startswith("| decode-killed | case1, process")
    )
    said = "a new request: HTTP 503: a \\| b; **the stream: not the healthy answer**"
    place, day = "decode-killed | case1, process, stand-ins", "2026-11-22"
    assert row == f"| {place} | **broken** | {said} | 1.2 s | 60.0 s | {day} |"
    skipped = f"| partition | case1, process, stand-ins | skipped | needs hosts |  |  | {day} |"
    assert skipped in page.read_text()


def test_rows_that_were_not_seen_now_stay(tmp_path) -> None:
    """Another checkout has no results of former runs; its page has."""
    page = tmp_path / report.EVIDENCE.page
    page.parent.mkdir(parents=True)
    page.write_text(EVIDENCE)
    drills = load_drills(ROOT)
    report.export_results(tmp_path, [], drills)
    assert page.read_text() == EVIDENCE
    there = {"runtime": "docker", "hosts": 3}
    for now in (result(**there), result(**there, status="skipped", why="no")):
        report.export_results(tmp_path, [now], drills)
    row = "| decode-killed | case1, docker, stand-ins, 3 hosts | held |  |  |  | 2026-11-22 |"
    lines = page.read_text().splitlines()
    assert row in lines
    assert [line for line in lines if not line.startswith("| decode-killed |")] == [
        line for line in EVIDENCE.splitlines() if not line.startswith("| decode-killed |")
    ]


def test_a_page_without_its_markers_is_refused(tmp_path) -> None:
    page = tmp_path / report.EVIDENCE.page
    page.parent.mkdir(parents=True)
    page.write_text("# nothing\n")
    with pytest.raises(BadInput, match="lacks the markers"):
        report.export_results(tmp_path, [], load_drills(ROOT))


@pytest.mark.parametrize("words", [["times=0"], ["times=x"], ["decode-kiled"], []])
def test_a_mistake_is_one_line_and_nothing_is_asked(words, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HETEROPD_STATE_DIR", str(tmp_path))
    assert main(["drill", *words]) == EXIT_BAD_INPUT
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_a_topology_there_is_nothing_to_drill(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HETEROPD_STATE_DIR", str(tmp_path))
    for words in (["drill", "decode-killed"], ["restart", "decode-0"]):
        assert main(words) == EXIT_BAD_INPUT
        assert "nothing is running" in capsys.readouterr().err


def test_a_kernels_rules_do_not_stop_rdma() -> None:
    """Cutting the network of hosts that use RDMA would leave the KV transfer as it was: any promise held."""
    entry, machine = load_drills(ROOT).drills["partition"], Machine(cores=[0, 1])
    cards = make(["case1", "hosts=env/hosts/example.yaml"], ROOT, machine)
    assert "at the switch" in (run.why_not(cards, entry) or "")
    standins = make(["case1"], ROOT, machine).engines
    assert not any(ucx.transports(engine.env).may_use_rdma for engine in standins)
    assert ucx.transports({}).may_use_rdma, "UCX chooses"


def test_results_of_former_runs_are_read_and_former_names_written(tmp_path) -> None:
    old = {"what": "the stream", "says": "cut off", "good": False, "seconds": 1.5}
    kept = report.keep([result(seen=[old])], tmp_path)
    (seen,) = report.keep([], tmp_path)[0].seen
    assert kept[0].seen == [seen]
    assert (seen.id, seen.status, seen.text, seen.seconds) == ("the stream", "FAIL", "cut off", 1.5)
    written = json.loads((tmp_path / report.FILE).read_text())[0]["seen"][0]
    assert written.items() >= old.items()
