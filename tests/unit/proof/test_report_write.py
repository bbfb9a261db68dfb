"""What a report says, and that it says what it must."""

import json
from io import StringIO

import pytest
from rich.console import Console

from heteropd.proof import report


@pytest.fixture
def written(prove, make_plan, tmp_path):
    def write(fault=None, **more):
        verdict = prove(fault, **more)
        paths = report.write(verdict, make_plan(), tmp_path / "reports")
        shown = StringIO()
        report.show(verdict, make_plan(), paths, Console(file=shown, width=200))
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
    assert "FAIL  integrity.tokens: 25 of 26" in shown
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
    assert data["request"]["max_tokens"] == 100
    assert " ".join(verdict.answer.split()) in text


def test_a_topology_that_is_down_still_has_a_report(written):
    _, text, data, shown = written("decode down")
    assert "connectivity.reachable" in text
    assert "does not accept connections" in shown
    assert data["probes"] == []


def test_an_error_with_a_bar_does_not_break_the_table(written):
    _, text, _, _ = written("router refuses")
    widths = {row.count(" | ") for row in section(text, "Probes")}
    assert len(widths) == 1


def test_a_report_replaces_the_former(written, tmp_path):
    written("stale")
    written()
    assert sorted(one.name for one in (tmp_path / "reports").iterdir()) == ["verdict.json", "verdict.md"]
    assert json.loads((tmp_path / "reports/verdict.json").read_text())["result"] == "PASS"
