"""What a report says, and that it says what it must."""

import json
import shlex
from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console

from heteropd.errors import BadInput
from heteropd.proof import report


@pytest.fixture
def written(prove, make_plan, tmp_path):
    def write(fault=None, **more):
        verdict = prove(fault, **more)
        shown = StringIO()
        console = Console(file=shown, width=200)
        report.show(verdict, console)
        report.show_next(verdict, make_plan(), console)
        paths = report.keep(verdict, make_plan(), tmp_path / "reports")
        return verdict, paths.markdown.read_text(), json.loads(paths.json.read_text()), shown.getvalue()

    return write


def test_the_conclusion_comes_first_and_says_what_ran(written):
    _, text, data, shown = written()
    assert text.startswith("# PASS: case1, m\n")
    head = text.split("## Topology")[0]
    assert "STAND-IN RUN" in head
    assert "does not prove the accelerators" in head
    assert data["standin"] is True
    assert data["passed"] is True
    assert "STAND-IN RUN" in shown
    assert "PASS case1" in shown


def test_a_failure_is_told_with_its_fix(written):
    _, text, data, shown = written("stale")
    head = text.split("## Topology")[0]
    assert "**integrity.tokens**" in head
    assert "Fix: " in head
    assert data["result"] == "FAIL"
    assert "FAIL  integrity.tokens: 23 of 24" in shown
    assert "fix: " in shown


def section(text, title):
    """The rows of the table under a heading."""
    page = text.split(f"## {title}\n")[1].split("\n## ")[0]
    return [line for line in page.splitlines() if line.startswith("|")]


def test_the_tables_hold_roles_checks_and_every_probe(written):
    verdict, text, data, _ = written()
    assert "| prefill-0 | cuda | **cpu (stand-in)** | http://127.0.0.1:18100 | HND | 16 | HND/16 |" in text
    assert "NHD | 128 | NHD/128 | permute on receive |" in text
    for check in verdict.checks:
        assert f"| {check.status} | {check.id} |" in text
    rows = section(text, "Probes")
    assert len(rows) == 2 + len(verdict.probes)  # the header and its rule
    assert len(data["probes"]) == len(verdict.probes)


def test_the_curl_is_the_documents_request_and_the_pages_say_the_same(written, settings):
    verdict, text, data, _ = written()
    assert "curl http://127.0.0.1:18000/v1/completions" in text
    assert settings.request.prompt in text
    assert data["request"]["max_tokens"] == 8
    assert " ".join(verdict.answer.split()) in text


def test_what_to_do_next_can_be_copied(written, settings):
    *_, shown = written()
    command = shown[shown.index("curl ") : shown.index("\nNext:")].replace("\\\n", "")
    words = shlex.split(command)
    assert words[1] == "http://127.0.0.1:18000/v1/completions"
    assert json.loads(words[-1])["prompt"] == settings.request.prompt
    lines = [line.split("#")[0].strip() for line in shown.split("\nNext:\n")[1].splitlines()]
    assert lines == ["make validate", "make logs role=decode-0 follow=1", "make down"]


def test_after_a_verdict_that_failed_the_cause_is_next(written):
    *_, shown = written("stale")
    assert "curl " not in shown
    assert "  make doctor" in shown


def test_a_topology_that_is_down_still_has_a_report(written):
    _, text, data, shown = written("decode down")
    assert "connectivity.reachable" in text
    assert "does not accept connections" in shown
    assert data["probes"] == []


def test_an_error_with_a_bar_does_not_break_the_table(written):
    _, text, _, _ = written("router refuses")
    widths = {row.count(" | ") for row in section(text, "Probes")}
    assert len(widths) == 1


@pytest.fixture
def kept(prove, make_plan, tmp_path):
    """Two verdicts, kept one after the other."""
    folder = tmp_path / "reports"
    for minute, fault in enumerate(("stale", None)):
        verdict = prove(fault)
        later = verdict.started_at + timedelta(minutes=minute)
        report.keep(verdict.model_copy(update={"started_at": later}), make_plan(), folder)
    return folder


def said(act, *words):
    out = StringIO()
    act(*words, Console(file=out, width=200))
    return out.getvalue()


def test_every_verdict_is_kept_and_the_newest_has_a_name_of_its_own(kept):
    names = ["20260102T030405Z-case1", "20260102T030505Z-case1", "latest", "verdict"]
    assert sorted(file.name for file in kept.iterdir()) == [
        f"{name}{ending}" for name in names for ending in (".html", ".json", ".md")
    ]
    for name in ("latest", "verdict", names[1]):
        assert json.loads((kept / f"{name}.json").read_text())["result"] == "PASS"
        assert (kept / f"{name}.md").read_text().startswith("# PASS")
    assert json.loads((kept / f"{names[0]}.json").read_text())["result"] == "FAIL"


def test_kept_verdicts_are_listed(kept, tmp_path):
    (kept / "20250101T000000Z-case1.json").write_text("{}")  # of another version of the kit
    first, second, unread = said(report.list_reports, kept).splitlines()[1:]
    assert unread.endswith("damaged or of another version of the kit: 20250101T000000Z-case1.json")
    assert first.split()[:2] == ["20260102T030405Z-case1", "FAIL"]
    assert first.rstrip().endswith("integrity.tokens")
    assert second.split()[:2] == ["20260102T030505Z-case1", "PASS"]
    assert "make validate" in said(report.list_reports, tmp_path / "nothing")


def test_two_kept_verdicts_are_compared(kept):
    names = ["20260102T030405Z-case1.json", "latest"]
    text = said(report.compare_reports, kept, names)
    assert "integrity.tokens" in text
    assert "identity.version" not in text, "it is the same in both"
    assert said(report.compare_reports, kept, ["latest", "latest"]) == "the two verdicts say the same\n"
    for wrong in (["latest"], ["latest", "20270102T030405Z-case1"]):
        with pytest.raises(BadInput):
            report.compare_reports(kept, wrong, Console(file=StringIO()))
