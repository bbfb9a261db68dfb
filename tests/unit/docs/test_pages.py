"""Every page says what is so: commands run when copied, links lead somewhere, files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mdpage import Page
from page_checker import problems

from heteropd.cli import table

ROOT = Path(__file__).parents[3]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *DOCS]
TEXTS = [
    path
    for folder in ("scripts", "env", "docker", ".github", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix not in (".pyc", ".txt")
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_wrong_with_a_page(path: Path) -> None:
    assert problems(Page.read(ROOT, path), ROOT) == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("folder", ["docs", "docs/evidence"])
def test_an_index_names_every_page_once(folder: str) -> None:
    rows = [line for line in (ROOT / folder / "README.md").read_text().splitlines() if line.startswith("|")]
    for path in sorted((ROOT / folder).glob("*.md")):
        if path.name != "README.md":
            assert sum(f"]({path.name})" in row for row in rows) == 1, path.name


def test_texts_of_the_kit_name_commands_that_run() -> None:
    """What a user is told to type: targets of make that there are, and never nox from the PATH."""
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        bare = re.search(r"(?<!bin/)nox -s\b.*", text)
        assert bare is None, f"{path.relative_to(ROOT)}: {bare[0] if bare else ''}"
        for target in re.findall(r"`make ([a-z][\w-]*)", text):
            assert target in {"help", *table.BY_NAME}, f"{path.relative_to(ROOT)}: make {target}"


def page(text: str) -> Page:
    return Page("docs/planted.md", text)


def block(line: str, language: str = "sh") -> str:
    return f"text\n\n```{language}\n{line}\n```\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (block("nox -s case1"), "nox is not on the PATH"),
        (block("make status | make logs"), "make of make is a pipe"),
        (block("make statsu"), "make statsu: no such target"),
        (block("make logs rol=decode-0"), "rol"),
        (block("make case1 port=80800"), "port"),
        (block("make case1 prefill_block_size=128 decode_block_size=16"), "P21-block-order"),
        (block("make plan case=case9"), "no such case"),
        (block("make plan case=case1 hosts=nowhere.yaml"), "nowhere.yaml"),
        (block("make drill name=all times=often"), "times"),
        (block(".venv/bin/nox -s cases"), "nox -s cases: no such session"),
        (block(".venv/bin/nox case1"), "say -l, or -s NAME"),
        (block(".venv/bin/nox -s logs -- --folow"), "folow"),
        (block("cat env/bench.yaml"), "cat is no program that these pages use"),
        (block("git clone … here"), "cannot be copied"),
        (block(".nox/dev/bin/python -m pytest tests/unit/nowhere"), "tests/unit/nowhere is not there"),
        (block("make status"[:11], ""), "a block of no language"),
        (block("{"), "{ is no program"),
        (block("{", "json"), "JSON"),
        (block("a: 1\na: 2", "yaml"), "a"),
        (block("hosts: {a: {adress: 192.0.2.1}}\nplatforms: {cuda: a}", "yaml"), "adress"),
        (block("roles: {decode: {enf: {A: b}}}", "yaml"), "enf"),
        ("see `nox -s unit`", "nox is not on the PATH"),
        ("see `make restart roel=decode-0`", "roel"),
        ("see `make restrat role=…`", "make restrat: no such target"),
        ("see `scripts/heteropd/spec/env.py`", "scripts/heteropd/spec/env.py is not there"),
        ("see `env/pinsets/*.yaml`", "env/pinsets/*.yaml is not there"),
        ("see [it](nowhere.md)", "nowhere.md, which is not there"),
        ("see [it](proof.md#nowhere)", "no such heading"),
        ("# A heading\n\n[it](#a-haeding)", "no such heading"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(text: str, expected: str) -> None:
    found = problems(page(text), ROOT)
    assert len(found) == 1, found
    assert expected in found[0]
    assert found[0].startswith("docs/planted.md:")


@pytest.mark.parametrize(
    "text",
    [
        block("make case1      # a comment; `nox -s` in it\n\nmake down"),
        block("make hosts nodes=\"root@a root@b\" to=FILE"),
        block("make plan case=case1 format=k8s > case1.yaml"),
        block("curl http://localhost:8000/v1 -d '{\"a\":\n  1}'"),
        block("git clone URL heteropd && cd heteropd"),
        block("HETEROPD_STATE_DIR=/tmp/x make status"),
        block(".venv/bin/nox -s plan -- case1 --format bash"),
        block("make lint types unit"),
        "see `make restart role=…`, `make hosts nodes=\"N …\" to=F [router=N] [force=1]` and `make VERB`",
        "see `make logs role=R [follow=1] [tail=N]`",
        "see `env/hosts/mine.yaml` and `env/platforms/*.yaml` and [it](https://example.org/x)",
        "# A: head, `code`\n\n# A: head, `code`\n\n[one](#a-head-code) [two](#a-head-code-1)",
    ],
)  # fmt: skip
def test_what_is_right_is_left_alone(text: str) -> None:
    assert problems(page(text), ROOT) == []
