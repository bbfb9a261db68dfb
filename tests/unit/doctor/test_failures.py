"""The table of known failures: whatever it names exists, and what exists for a failure is named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from doctor_hosts import CHECKS, ROOT

from heteropd.doctor import judge
from heteropd.errors import BadInput
from heteropd.plan import rules

REFERENCES = [(number, name) for number, one in CHECKS.failures.items() for name in one.caught_by]
CHECK_ID = re.compile(r"\bT[234]-\d{2}-[a-z0-9-]*[a-z0-9]")
PROOF_ID = re.compile(r"(connectivity|identity|kv_transfer|integrity)\.[a-z_]+")
SEARCHED = ["scripts", "docs", "env", "tests", "README.md", "noxfile.py", "Makefile"]


def names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def proofs() -> set[str]:
    """Ids of the proof's checks: ``group.name``."""
    files = (ROOT / "scripts/heteropd/proof").glob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if PROOF_ID.fullmatch(text)}


@pytest.mark.parametrize(("number", "name"), REFERENCES)
def test_what_catches_a_failure_exists(number: int, name: str) -> None:
    if "::" in name:
        file, _, test = name.partition("::")
        assert test in names_in(ROOT / file)
    elif name[0] == "P":
        assert name in rules.CHECKS
    elif name[0] == "T":
        assert name in CHECKS.checks
    else:
        assert name in proofs(), f"failure {number}"


def test_a_check_that_is_for_a_failure_stands_there() -> None:
    lacking = {
        name: one.failure
        for name, one in CHECKS.checks.items()
        if one.failure and name not in CHECKS.failures[one.failure].caught_by
    }
    assert not lacking


def test_a_number_in_an_id_is_the_failures() -> None:
    numbers = {name: int(name[3:5]) for name in CHECKS.checks}
    assert {name: CHECKS.checks[name].failure for name, number in numbers.items() if number <= 39} == {
        name: number for name, number in numbers.items() if number <= 39
    }


def test_at_least_thirty_are_covered() -> None:
    assert CHECKS.covered >= 30


def test_no_file_names_a_check_that_is_not_there() -> None:
    unknown = set()
    for place in SEARCHED:
        files = [ROOT / place] if (ROOT / place).is_file() else (ROOT / place).rglob("*.*")
        for file in files:
            if file.suffix in {".py", ".md", ".yaml", ".sh"}:
                unknown |= {(file.name, name) for name in CHECK_ID.findall(file.read_text())}
    assert {(file, name) for file, name in unknown if name not in CHECKS.checks} == set()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  38:\n", "  40:\n", "failures are not those from 1 to 39"),
        ("    not_covered:", "    caught_by: [P08-ucx-tls-tcp]\n    not_covered:", "both or neither"),
        ("- T2-10-verbs-devices\n", "- verbs devices\n", "is not a rule, a check or a test"),
    ],
)
def test_a_wrong_table_is_refused(old: str, new: str, problem: str, tmp_path: Path) -> None:
    text = (ROOT / "env/checks.yaml").read_text()
    assert old in text
    (tmp_path / "env").mkdir()
    (tmp_path / "env/checks.yaml").write_text(text.replace(old, new))
    with pytest.raises(BadInput, match=problem):
        judge.load(tmp_path)
