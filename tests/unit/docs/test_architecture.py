"""docs/architecture.md draws the house of pyproject.toml's import contract, and names what is there."""

from __future__ import annotations

import ast
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from mdpage import Page

ROOT = Path(__file__).parents[3]
PAGE = Page.read(ROOT, ROOT / "docs/architecture.md")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERS = [
    {name.strip() for name in layer.split("|")}
    for contract in CONTRACTS
    if contract["type"] == "layers"
    for layer in contract["layers"]
]
# `file` `name`: the name is defined in the file.
DEFINED = re.findall(r"`(scripts/[\w/]+\.py)` `(\w+)`", PAGE.text)


def test_the_table_of_floors_is_the_contract() -> None:
    rows = re.findall(r"^\| (\d+) \| (`[^|]+`) \|", PAGE.text, re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", rooms)) for _, rooms in rows] == LAYERS
    assert [int(number) for number, _ in rows] == list(range(len(LAYERS), 0, -1))


def test_the_picture_has_every_room_on_its_side_of_the_others() -> None:
    (picture,) = (fence.text for fence in PAGE.fences() if "subgraph ground" in fence.text)
    storeys = re.findall(r"subgraph \w+ \[[^\]]*\]\n +direction LR\n(.*)\n", picture)
    drawn = [set(re.findall(r"\w+", line)) for line in storeys]
    assert set().union(*drawn) == set().union(*LAYERS)
    heights = {room: height for height, layer in enumerate(reversed(LAYERS)) for room in layer}
    for below, above in pairwise(drawn):
        assert max(heights[room] for room in below) < max(heights[room] for room in above)
        assert not below & above


def test_every_room_is_there() -> None:
    for room in set().union(*LAYERS):
        folder = ROOT / "scripts/heteropd" / room
        assert folder.is_dir() or folder.with_suffix(".py").is_file(), room


@pytest.mark.parametrize(("file", "name"), DEFINED)
def test_what_is_named_is_defined_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize(
    "question",
    [
        "where a block size is **decided**",
        "where a **container is started**",
        "where the **verdict is made**",
        "what a **new platform** needs",
    ],
)
def test_a_question_has_its_files(question: str) -> None:
    (row,) = (line for line in PAGE.text.splitlines() if line.startswith(f"| {question} |"))
    assert re.search(r"`(scripts|env)/[\w./]+`", row)


def test_names_were_looked_up() -> None:
    assert len(DEFINED) >= 6
