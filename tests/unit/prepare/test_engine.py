"""The engine's environment and the default model: refused where they cannot be right, else made once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from heteropd.config import env
from heteropd.config.pins import StandinPins
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.prepare import engine
from heteropd.system import Completed

ROOT = Path(__file__).parents[3]
GGUF = b"a model"


class Converter:
    """A Runner whose conversion makes the folder, or fails as told."""

    def __init__(self, failure: str = "") -> None:
        self.failure, self.runs = failure, 0

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 60.0
    ) -> Completed:
        del env, timeout_s
        self.runs += 1
        if self.failure:
            return Completed(tuple(argv), 1, "", f"Traceback …\n{self.failure}\n")
        folder = Path(argv[argv.index("--out") + 1])
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        return Completed(tuple(argv), 0, "", "")

    def show(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        raise AssertionError(f"{argv} {env}")

    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path) -> int:
        raise AssertionError(f"{argv} {env} {log} {cwd}")


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandinPins:
    """The real pin set, but for the packaged file's hash; the file lies where the package would put it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read = env.load(ROOT).standin
    file = tmp_path / ".nox/engine-cpu/lib/python3.11/site-packages" / read.model.file
    file.parent.mkdir(parents=True)
    file.write_bytes(GGUF)
    model = read.model.model_copy(update={"sha256": hashlib.sha256(GGUF).hexdigest()})
    return read.model_copy(update={"model": model})


def quiet(_text: str) -> None:
    pass


def test_the_model_is_converted_once_for_all_checkouts(pins: StandinPins, tmp_path: Path) -> None:
    runner = Converter()
    first = engine.ensure_model(pins, tmp_path, runner, quiet)
    assert first == engine.ensure_model(pins, tmp_path, runner, quiet)
    assert runner.runs == 1
    assert first.is_relative_to(tmp_path / "cache" / "heteropd")
    assert pins.model.version in first.name


def test_a_file_that_is_not_the_pinned_one_is_not_converted(pins: StandinPins, tmp_path: Path) -> None:
    other = pins.model_copy(update={"model": pins.model.model_copy(update={"sha256": "0" * 64})})
    runner = Converter()
    with pytest.raises(KitError, match=r"not the pinned file.*env/pins/standin\.yaml"):
        engine.ensure_model(other, tmp_path, runner, quiet)
    assert runner.runs == 0


def test_a_package_without_the_file_is_named(pins: StandinPins, tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"model\.file.*not in the package"):
        engine.ensure_model(pins, tmp_path / "elsewhere", Converter(), quiet)


def test_a_failed_conversion_says_its_last_line(pins: StandinPins, tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"exit status 1: no space left") as stop:
        engine.ensure_model(pins, tmp_path, Converter("no space left"), quiet)
    assert len(str(stop.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("version", "system", "machine"),
    [
        ("3.10", "linux", "x86_64"),
        ("3.14", "linux", "x86_64"),
        ("3.12", "linux", "aarch64"),
        ("3.12", "darwin", "x86_64"),
    ],
)
def test_machines_without_packages_are_refused_with_a_mend(version: str, system: str, machine: str) -> None:
    with pytest.raises(MissingPrerequisite, match="; "):
        engine.refuse_unsuitable(env.load(ROOT).standin, version, system, machine)


def test_the_locked_pythons_are_taken() -> None:
    for version in ("3.11", "3.12", "3.13"):
        engine.refuse_unsuitable(env.load(ROOT).standin, version, "linux", "x86_64")


@pytest.mark.parametrize("broken", ["a file", "nowhere to write", "below a file"])
def test_a_cache_that_cannot_be_written_is_said_first(pins: StandinPins, tmp_path: Path, broken: str) -> None:
    cache = tmp_path / "cache"
    if broken == "nowhere to write":
        cache = Path("/proc/heteropd")
    else:
        cache.write_text("")
        cache = cache / "more" if broken == "below a file" else cache
    with pytest.raises(BadInput, match=r"XDG_CACHE_HOME.*set XDG_CACHE_HOME to a folder that can be written"):
        engine.require_writable(pins, {"XDG_CACHE_HOME": str(cache)})


def test_a_model_that_is_there_needs_no_writing(pins: StandinPins, tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path / "new")}
    engine.require_writable(pins, environ)
    assert not (tmp_path / "new").exists()
    folder = engine.model_folder(pins, environ)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    engine.require_writable(pins, environ)
