"""`compare` says in one line what it is to be given, and what is wrong with what it was given."""

import os
from pathlib import Path

import pytest

from heteropd.app.wiring import STATE_VARIABLE
from heteropd.cli.main import main

ROOT = Path(__file__).parents[3]
VERDICT = (ROOT / "docs/evidence/mixed/case1-h100.json").read_text()


@pytest.mark.parametrize(
    ("words", "missing"), [([], "a= and b= not given"), (["a=x"], "b= not given"), (["b=x"], "a= not given")]
)
def test_a_report_that_is_not_given_is_asked_for(
    words: list[str], missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words]) == 2
    said = capsys.readouterr().err
    assert f"{missing}; give a=NAME b=NAME" in said
    assert (said.count("\n"), "None" in said) == (1, False)


BAD = {
    "nothing.json": "is not a file, nor the name of a report",
    "~nobody-here/x": "cannot be read (Could not determine home directory.)",
    "folder": "is a folder",
    "pipe": "is not a regular file",
    "empty.json": "is not JSON, or damaged (EOF while parsing a value at line 1 column 0)",
    "damaged.json": "is not JSON, or damaged (EOF while parsing",
    "binary.json": "is not JSON, or damaged",
    "list.json": "is of another kind, or of another version of the kit (top: ",
    "kept.json": "is of another kind, or of another version of the kit (case: field required)",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("verb", ["compare", "reports"])
def test_a_file_that_is_no_report_is_named_with_what_is_wrong(
    verb: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reports").mkdir()
    good = tmp_path / "reports" / "20260101T000000Z-case1.json"
    for file, text in (("damaged", VERDICT[:300]), ("empty", ""), ("list", "[]"), ("kept", "{}")):
        (tmp_path / f"{file}.json").write_text(text)
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    good.write_text(VERDICT)
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    given = name if name.startswith("~") else str(tmp_path / name)
    words = [f"a={good}", f"b={given}"] if verb == "compare" else [f"of={good.stem},{given}"]
    assert main([verb, *words]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"heteropd: command line: {'b' if verb == 'compare' else 'of'}: {given!r}: ")
    assert f": {BAD[name]}" in line
    assert "or a verdict" in line if verb == "compare" else "give a verdict" in line
    assert (line.count("\n"), good.stem in line) == (1, True)
