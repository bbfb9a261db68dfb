"""A plugin of pytest that writes results as JSON, for programs. `command.argv` names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

_RESULTS = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file."""
    parser.addoption("--json-facts", metavar="FILE", help="write each test's outcome and reason there")


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the file, also when tests failed."""
    file = session.config.getoption("--json-facts")
    if file:
        results = session.config.stash[_RESULTS]
        ok = bool(results) and all(one["outcome"] != "failed" for one in results)
        Path(file).write_text(json.dumps({"ok": ok, "results": results}, indent=2) + "\n")


def _result(item: pytest.Item, report: pytest.TestReport) -> dict[str, Any]:
    doc = getattr(getattr(item, "function", None), "__doc__", None) or ""
    return {
        "nodeid": item.nodeid,
        "outcome": report.outcome,
        "reason": _reason(report),
        "doc": " ".join(doc.split()),
    }


def _reason(report: pytest.TestReport) -> str | None:
    told = report.longrepr
    if isinstance(told, tuple):
        return str(told[2]).removeprefix("Skipped: ")
    crash = getattr(told, "reprcrash", None)
    text = str(crash.message) if crash is not None else str(told) if told else None
    # What was said, without what pytest adds about the expression.
    return (
        text
        and text.partition("\nassert ")[0].removeprefix("AssertionError: ").removeprefix("Failed: ").strip()
    )
