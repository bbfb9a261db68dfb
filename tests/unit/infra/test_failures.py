"""Failure modes in the suites' docstrings and the table in env/checks.yaml: each says what the other does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from heteropd.doctor import judge
from heteropd.images import suites

ROOT = Path(__file__).parents[3]


def numbers(suite: str) -> dict[str, set[int]]:
    """Tests of a suite, with the failure modes that end their docstrings: ``… (7, 8)``."""
    found = {}
    for file in sorted((ROOT / suites.FOLDER / suite).glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = " ".join((ast.get_docstring(node) or "").split())
                told = re.search(r"\((\d+(?:, \d+)*)\)", said)
                modes = {int(number) for number in told[1].split(", ")} if told else set()
                found[f"{file.relative_to(ROOT)}::{node.name}"] = modes
    return found


@pytest.mark.parametrize("suite", ["hosts", "fabric", "devices/cuda", "devices/gaudi", "topology"])
def test_docstrings_and_the_table_of_failures_say_the_same(suite: str) -> None:
    said = numbers(suite)
    assert said, "a suite has tests"
    failures = judge.load(ROOT).failures
    listed = {test: {number for number, one in failures.items() if test in one.caught_by} for test in said}
    assert listed == said
