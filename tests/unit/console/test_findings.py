"""Findings as people read them: worst first, skips counted, fixes below."""

from __future__ import annotations

import io

from rich.console import Console

from heteropd.console.findings import for_programs, show_findings, summary
from heteropd.findings import Finding

FINDINGS = [
    Finding(id="T1-a", place="g1", status="PASS", text="fine [as it is]"),
    Finding(id="T1-b", place="g1", status="SKIP", text="no tool"),
    Finding(id="T1-c", place="c1", status="WARN", text="odd", fix="do that", threads=("vllm#1",)),
    Finding(id="T1-d", status="FAIL", text="broken", fix="do this"),
    Finding(id="T1-e", place="c1", status="SKIP", text="no card"),
]


def _shown(width: int = 180, **options: object) -> list[str]:
    stream = io.StringIO()
    show_findings(FINDINGS, Console(file=stream, width=width), **options)  # type: ignore[arg-type]
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_failures_come_first_and_skips_are_counted_in_one_line() -> None:
    assert _shown(how="everything=1") == [
        "FAIL  T1-d: broken",
        "      fix: do this",
        "WARN  T1-c (c1): odd",
        "      fix: do that",
        "      known from vllm#1",
        "PASS  T1-a (g1): fine [as it is]",
        "2 not looked at: everything=1 lists them",
    ]


def test_everything_lists_skips_and_passed_false_leaves_passes_out() -> None:
    lines = _shown(everything=True)
    assert [line[:4] for line in lines if line[:4].isupper()] == ["FAIL", "WARN", "SKIP", "SKIP", "PASS"]
    assert "SKIP  T1-e (c1): no card" in lines
    assert not any("not looked at" in line for line in lines)
    assert not any(line.startswith("PASS") for line in _shown(passed=False))


def test_a_narrow_terminal_folds_text_beside_the_status() -> None:
    stream = io.StringIO()
    finding = Finding(id="T1-a", status="FAIL", text="word " * 30)
    show_findings([finding], Console(file=stream, width=40))
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert all(line.startswith(" " * 6) for line in lines[1:])


def test_nothing_checked_is_said() -> None:
    assert summary(FINDINGS) == "1 FAIL, 1 WARN, 2 SKIP, 1 PASS"
    assert summary([]) == "nothing was checked"


def test_json_has_both_names_of_the_fix() -> None:
    made = for_programs(FINDINGS[2])
    assert made["mend"] == made["fix"] == "do that"
    assert {"check", "place", "status", "text"} <= made.keys()
    assert made["threads"] == ["vllm#1"]
