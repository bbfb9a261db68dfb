from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from heteropd_engine import convert


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    source = tmp_path / "tiny.gguf"
    source.write_bytes(b"GGUF" + bytes(60))
    return source


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    versions = dict.fromkeys(convert.LIBRARIES, "1.0")
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    return versions


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stands in for the conversion proper; remembers the folders it wrote to."""
    folders: list[Path] = []

    def write(_source: Path, folder: Path, _dtype: str) -> None:
        folders.append(folder)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(convert, "_write_model", write)
    return folders


def test_second_run_does_nothing(gguf: Path, tmp_path: Path, writes: list[Path]) -> None:
    out = tmp_path / "model"
    assert convert.convert(gguf, out)
    assert not convert.convert(gguf, out)
    assert len(writes) == 1
    assert json.loads((out / convert.STAMP_NAME).read_text())["dtype"] == "float32"


def test_new_source_dtype_or_library_converts_again(
    gguf: Path, tmp_path: Path, writes: list[Path], libraries: dict[str, str]
) -> None:
    out = tmp_path / "model"
    convert.convert(gguf, out)
    assert convert.convert(gguf, out, "bfloat16")
    gguf.write_bytes(b"GGUF" + bytes(61))
    assert convert.convert(gguf, out, "bfloat16")
    libraries["transformers"] = "2.0"
    assert convert.convert(gguf, out, "bfloat16")
    assert len(writes) == 4


def test_a_failed_conversion_leaves_nothing(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_source: Path, folder: Path, _dtype: str) -> None:
        (folder / "half.safetensors").write_bytes(b"half")
        raise RuntimeError("no space left")

    monkeypatch.setattr(convert, "_write_model", fail)
    with pytest.raises(RuntimeError):
        convert.convert(gguf, tmp_path / "made" / "model")
    assert list((tmp_path / "made").iterdir()) == []


def test_a_failed_conversion_keeps_the_previous_one(
    gguf: Path, tmp_path: Path, writes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    convert.convert(gguf, out)
    before = convert.read_stamp(out)

    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(convert, "_write_model", fail)
    with pytest.raises(RuntimeError):
        convert.convert(gguf, out, "bfloat16")
    assert writes
    assert convert.read_stamp(out) == before


def test_a_folder_of_somebody_else_is_left_alone(gguf: Path, tmp_path: Path, writes: list[Path]) -> None:
    mine = tmp_path / "model"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(convert.CannotConvert, match="was not made by this program"):
        convert.convert(gguf, mine)
    assert (mine / "thesis.txt").exists()
    assert writes == []


def test_not_a_gguf(tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(b"PK\x03\x04")
    with pytest.raises(convert.CannotConvert, match="not a GGUF file"):
        convert.convert(source, tmp_path / "out")


def test_missing_library_is_named(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(convert.CannotConvert, match="no package torch"):
        convert.convert(gguf, tmp_path / "out")


def test_command_line_says_one_line_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = convert.main(["--gguf", str(tmp_path / "absent.gguf"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith("error: --gguf ")
    assert said.count("\n") == 1


def test_package_is_searched_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shipped_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert convert.gguf_in_package("shipped_model") == package / "m.gguf"
    assert "shipped_model" not in sys.modules
    with pytest.raises(convert.CannotConvert, match="0 GGUF files"):
        convert.gguf_in_package("no_such_package_here")
