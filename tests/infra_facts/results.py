"""A plugin of pytest that makes a finding of each test: shown at the end, and written as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from heteropd.console.findings import for_programs, show_findings, summary
from heteropd.console.width import console
from heteropd.findings import Finding, Status

_RESULTS = pytest.StashKey[list[tuple[Finding, dict[str, Any]]]]()
_STATUSES: dict[str, Status] = {"passed": "PASS", "failed": "FAIL", "skipped": "SKIP"}
_FIX = "; fix: "


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of what is written and shown."""
    parser.addoption("--json-facts", metavar="FILE", help="write each test's outcome and reason there")
    parser.addoption("--everything-facts", action="store_true", help="show what was skipped, too")


def pytest_configure(config: pytest.Config) -> None:
    """Start with nothing."""
    config.stash[_RESULTS] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Keep what the report itself does not hold: the docstring, and where the test stands."""
    report = yield
    if report.when == "call" or report.outcome != "passed":
        item.config.stash[_RESULTS].append(_result(item, report))
    return report


def pytest_terminal_summary(config: pytest.Config) -> None:
    """Show what failed and how to fix it; skips are counted."""
    findings = [finding for finding, _ in config.stash[_RESULTS]]
    everything = config.getoption("--everything-facts")
    screen = console()
    show_findings(findings, screen, everything=everything, passed=False, how="all=1")
    screen.print(f"infra: {summary(findings)}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the file, also when tests failed."""
    file = session.config.getoption("--json-facts")
    if file:
        results = session.config.stash[_RESULTS]
        ok = bool(results) and all(finding.status != "FAIL" for finding, _ in results)
        rows = [{**of_pytest, **for_programs(finding)} for finding, of_pytest in results]
        Path(file).write_text(json.dumps({"ok": ok, "results": rows}, indent=2) + "\n")


def _result(item: pytest.Item, report: pytest.TestReport) -> tuple[Finding, dict[str, Any]]:
    """A test as a finding, and as pytest has it. What a test says after ``; fix:`` is the finding's fix."""
    doc = " ".join((getattr(getattr(item, "function", None), "__doc__", None) or "").split())
    reason = _reason(report)
    text, _, fix = (reason or doc).partition(_FIX)
    name, _, place = item.name.partition("[")
    finding = Finding(
        id=name, place=place.rstrip("]"), status=_STATUSES[report.outcome], text=text, fix=fix or None
    )
    return finding, {"nodeid": item.nodeid, "outcome": report.outcome, "reason": reason, "doc": doc}


def _reason(report: pytest.TestReport) -> str | None:
    problem = report.longrepr
    if isinstance(problem, tuple):
        return str(problem[2]).removeprefix("Skipped: ")
    crash = getattr(problem, "reprcrash", None)
    text = str(crash.message) if crash is not None else str(problem) if problem else None
    # What was said, without what pytest adds about the expression.
    return (
        text
        and text.partition("\nassert ")[0].removeprefix("AssertionError: ").removeprefix("Failed: ").strip()
    )
