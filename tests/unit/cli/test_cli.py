"""The command line: mistakes are one line and exit status 2, and nothing is started; help costs nothing."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from heteropd.cli import overview, parser, reference, table
from heteropd.cli.main import main
from heteropd.cli.sessions import session_help
from heteropd.errors import EXIT_BAD_INPUT, EXIT_OK, BadInput, KitError
from heteropd.processes import watchdog
from heteropd.processes.identity import alive
from heteropd.system import LocalRunner, own_python, without_python_settings
from plan_words import arguments

ROOT = Path(__file__).parents[3]
NOX = ROOT / ".venv/bin/nox"

MISTAKES: dict[str, str] = {
    "vaildate": "did you mean 'validate'?",
    "--jsn": "is not known",
    "status now": "is not understood here",
    "status --jsn": "did you mean 'json'?",
    "status -j": "'-j': unknown parameter",
    "status json=maybe": "json: 'maybe': is neither on nor off",
    "status json=": "is empty",
    "status json=1 --json": "is given twice",
    "logs a b": "role: 'a b': is more than one; keep one of them",
    "logs a role=b": "role: 'a b': is more than one; keep one of them",
    "logs --tail all": "is not a whole number, 0 or more",
    "logs tail=-1": "is not a whole number",
    "logs role=a --role=a": "role: 'a': is given twice",
    "logs --role": "needs a value; write role=ROLE",
    "logs --role --follow": "needs a value",
    "plan": "case: missing",
    "plan case1 prot=1": "did you mean 'port'?",
    "plan case1 --hots f.yaml": "did you mean 'hosts'?",
    "plan case1 port=1 --port 2": "port: '2': is given twice",
    "plan case1 prefill-port=1 prefill_port=2": "prefill_port: '2': is given twice",
    "plan case1 case=case1": "case: 'case1 case1': is more than one",
    "plan case1 port=": "is empty",
    "plan case9": "did you mean 'case",
    "case1 case=case2": "case1 says it already",
    "case1 case2": "is not understood here",
    "up --x": " that `make up help=1` lists",
    "run zzzz=1": "that `heteropd run --help` lists",
    "run case1 doctor=maybe": "neither on nor off",
    "drill times=0": "is not a whole number, 1 or more",
    "drill times=x": "is not a whole number",
    "drill decode-kiled": "decode-kiled",
    "drill": "names no drill",
    "restart": "role: missing",
    "build": "name one or more of",
    "build cpu part=/x": "'part=/x': unknown parameter",
    "build cpu part.ucx=/x part.ucx=/y": "part.ucx: '/y': is given twice",
    "build cpu prat.ucx=/x": "did you mean 'part.ucx'?",
    "build cpu images.x=1": "unknown parameter",
    "lock chek": "did you mean 'check'?",
    "lock check=1 update=1": "update: 1: does not go with check=1",
    "lock json=1": "json: 1: is for check=1 alone",
    "bench": "what: missing",
    "bench routr": "did you mean 'router'?",
    "bench router engines": "is more than one",
    "bench router rounds=0": "must be at least 1",
    "bench router cold=1": "cold: True: is for another what=; `make bench help=1` says for which",
    "bench router roundz=1": "did you mean 'rounds'?",
    "doctor container=-v": "container: '-v': is not the name of a container",
    "doctor container=a/b": "container: 'a/b': is not the name of a container",
    "prepare zz=1": "'zz=1': unknown parameter; leave it out",
    "reports of=,": "of: ',': is empty",
    "evidence to=~nobody-here": "to: '~nobody-here': is not a path",
    "soak longest=1 shortest=9": "longest is 1, and shortest is 9",
    "soak minutes=0": "minutes: 0: must be greater than 0",
    "soak clients=1.5": "write digits, without a fraction; in a file",
    "doctor case1 container=c": "does not go with container=",
    "infra cpu port=1": "does not go with the test of an image",
    "validate x": "is not understood here",
    "validate url=ftp://127.0.0.1": "url: 'ftp://127.0.0.1': does not begin with http://",
    "help nothing": "is not known",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_starts_nothing(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HETEROPD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *_, **__: pytest.fail("something was started"))
    assert main(words.split()) == EXIT_BAD_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert MISTAKES[words] in said.err
    assert not (tmp_path / "state").exists()


def test_every_message_is_one_line_whatever_it_quotes() -> None:
    stop = BadInput("f.yaml", "a.b", "x\ny" * 400, "is\nwrong", "fix\nit")
    assert len(str(stop).splitlines()) == 1
    assert len(str(stop)) < 400
    assert isinstance(stop, KitError)


@pytest.mark.parametrize("on", ["1", "yes", "true", "on", "ON", "True"])
@pytest.mark.parametrize("off", ["0", "no", "false", "off", "Off"])
def test_flags_are_said_in_these_ways(on: str, off: str) -> None:
    for verb, flag in (("logs", "follow"), ("run", "doctor")):
        assert arguments(verb, f"{flag}={on}")[flag] is True
        assert arguments(verb, f"{flag}={off}")[flag] is False
        assert arguments(verb, f"--{flag}", off)[flag] is False
        assert arguments(verb, f"--{flag}")[flag] is True


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"], []])
def test_help_lists_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == EXIT_OK
    said = capsys.readouterr().out
    for verb in table.OF_THE_KIT.values():
        assert re.search(rf"^  {verb.name} +{re.escape(verb.text)}$", said, re.MULTILINE)


@pytest.mark.parametrize("verb", table.OF_THE_KIT)
@pytest.mark.parametrize("words", ["{} --help", "{} -h", "{} help=1", "help {}", "{} --unknown --help"])
def test_help_of_a_verb_tells_every_option(verb: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.format(verb).split()) == EXIT_OK
    said = " ".join(capsys.readouterr().out.split())
    entry = table.BY_NAME[verb]
    assert entry.sentence in said
    options = [*entry.options, *(parser.load(parser.PLAN_OPTIONS) if entry.plans else ())]
    options += [*(parser.load(entry.more) if entry.more else ())]
    for option in options:
        if not (entry.fixed and option.name == "case"):
            assert f"--{option.name.replace('_', '-')}" in said
            assert " ".join(option.help.split()) in said
    for example in entry.examples:
        assert f"make {verb} {example}".strip() in said


OF_THE_NOXFILE = [verb for verb in table.BY_NAME.values() if not verb.function]


@pytest.mark.parametrize("verb", OF_THE_NOXFILE, ids=lambda verb: verb.name)
@pytest.mark.parametrize("words", ["help=1", "--help", "-h", "x=1 help=yes"])
def test_help_of_a_session_is_its_sentence(verb: Any, words: str) -> None:
    text = session_help(verb, words.split())
    assert text is not None
    assert verb.sentence in text
    assert text.startswith(f"usage: make {verb.name}\n")
    assert ("-- [ARGUMENTS of" in text) == bool(verb.passes)


@pytest.mark.parametrize("verb", OF_THE_NOXFILE, ids=lambda verb: verb.name)
@pytest.mark.parametrize("word", ["helpp=1", "markers=x", "workers=", "tests/unit"])
def test_a_session_takes_no_options_but_its_programs(verb: Any, word: str) -> None:
    if verb.passes and "=" not in word:
        assert session_help(verb, [word, "-k", "port=1", "-o", "a=b", "t.py::test[a=1]"]) is None
        return
    with pytest.raises(
        BadInput, match=r"'help'" if word == "helpp=1" else f"{verb.name} takes help=1"
    ) as bad:
        session_help(verb, [word])
    assert str(bad.value).startswith(f"command line: {word!r}: unknown parameter; ")


@pytest.mark.skipif(not NOX.exists(), reason="no .venv: `make setup` makes it")
@pytest.mark.parametrize(
    ("word", "status", "text"), [("help=1", 0, "usage: make unit"), ("x=1", 2, "'x=1': unkn")]
)
def test_nox_asks_before_a_session_works(word: str, status: int, text: str) -> None:
    done = subprocess.run(
        [NOX, "-s", "unit", "--", word], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, text in done.stdout + done.stderr) == (status, True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("stauts", "target: 'stauts': is not known; did you mean 'status'?"),
        ("zzz", "target: 'zzz': is not known; choose one of the "),
        ("status tests/unit", "target: 'tests/unit': is not known"),
        ("setup helpp=1", "'helpp=1': unknown parameter; did you mean 'help'?"),
    ],
)
def test_make_starts_nothing_where_it_does_not_know_a_word(words: str, line: str, tmp_path: Path) -> None:
    nox = tmp_path / "nox"
    nox.write_text("#!/bin/sh\necho started\n")
    nox.chmod(0o755)
    argv = ["make", "-s", *words.split(), "--eval", f"override NOX := {nox}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"heteropd: command line: {line}" in done.stderr


def test_help_of_benchmarks_says_what_an_option_is_for_and_its_default() -> None:
    text = " ".join(parser.help_text(table.BY_NAME["bench"]).split())
    assert "in turns (what=router,engines,bringup: 3; what=kv: 6)" in text
    assert "each measured (what=router: 1,16,64); or Clients of an engine" in text
    assert "(what=bringup: 0)" in text
    assert "How long (default: 30.0)" in parser.help_text(table.BY_NAME["soak"])


@pytest.mark.parametrize("verb", table.OF_THE_KIT.values(), ids=lambda verb: verb.name)
def test_examples_are_understood(verb: Any) -> None:
    for example in verb.examples:
        words = re.findall(r'[^\s"]+="[^"]*"|\S+', example)
        arguments(verb.name, *(word.replace('"', "") for word in words))


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_version_is_the_projects(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == EXIT_OK
    assert f'version = "{capsys.readouterr().out.split()[1]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("words", "modules"),
    [
        ("help", "pydantic yaml rich docker httpx"),
        ("status --help", "pydantic yaml rich docker httpx"),
        ("plan case1", "docker httpx requests"),
    ],
)
def test_a_verb_loads_only_what_it_needs(words: str, modules: str) -> None:
    code = "import sys; from heteropd.cli.main import main; main(sys.argv[1].split())\n"
    code += "print([name for name in sys.argv[2].split() if name in sys.modules])"
    argv = [sys.executable, "-c", code, words, modules]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_page_lists_what_the_table_says() -> None:
    page = (ROOT / reference.SECTION.page).read_text(encoding="utf-8")
    assert reference.SECTION.filled(page, reference.render()) == page, "`make schema` writes it anew"


def test_pages_that_verbs_name_are_there() -> None:
    for verb in table.BY_NAME.values():
        assert not verb.page or (ROOT / verb.page).is_file()


def test_make_has_a_target_for_every_session() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"^(?:EVERY_DAY|HOSTS|IMAGES|TESTS|KIT) := (.*)$", text, re.MULTILINE)
    assert " ".join(named).split() == list(table.SESSIONS)


def test_make_help_says_what_the_table_says() -> None:
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == overview.overview(make=True)
    for verb in [*table.SESSIONS.values(), table.BY_NAME["setup"]]:
        assert re.search(rf"^  make {verb.name} +{re.escape(verb.text)}$", done.stdout, re.MULTILINE)


@pytest.mark.skipif(not NOX.exists(), reason="no .venv: `make setup` makes it")
def test_nox_lists_what_the_table_says_at_once() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([NOX, "-l"], cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    listed = dict(re.findall(r"^[-*] (\S+) -> (.*)$", done.stdout, re.MULTILINE))
    assert listed == {name: verb.sentence for name, verb in table.SESSIONS.items()}
    # Of the CPU, for tests run beside others: 0.2 s.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


SETTINGS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONOPTIMIZE", "PYTHONWARNINGS")


def hostile(folder: Path) -> dict[str, str]:
    """An environment whose Python settings break whatever they reach."""
    for module in ("psutil", "yaml", "docker", "sitecustomize"):
        (folder / f"{module}.py").write_text("raise RuntimeError('the user's own')\n")
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**own, **dict.fromkeys(SETTINGS, str(folder)), "HETEROPD_STATE_DIR": str(folder / "state")}


def test_the_users_python_settings_do_not_reach_the_kit(tmp_path: Path) -> None:
    """As the noxfile starts it, in an environment that is there: that of the tests."""
    env = without_python_settings(hostile(tmp_path))
    argv = [sys.executable, "-P", "-m", "heteropd", "status"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "nothing is running", "")
    assert "env=without_python_settings(os.environ)" in (ROOT / "noxfile.py").read_text(encoding="utf-8")


def test_a_child_of_the_kit_runs_this_very_package(tmp_path: Path) -> None:
    env = own_python(hostile(tmp_path))
    code = "import heteropd, psutil, docker; print(heteropd.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (str(ROOT / "scripts/heteropd/__init__.py"), "")


def test_the_guard_of_a_topology_starts_whatever_the_user_has_set(tmp_path: Path) -> None:
    guard = watchdog.start(tmp_path, "t", LocalRunner(), hostile(tmp_path))
    assert guard is not None
    try:
        time.sleep(1)
        assert alive(guard)
    finally:
        watchdog.stop(tmp_path, "t")


def test_make_keeps_them_from_nox_itself(tmp_path: Path) -> None:
    argv = ["make", "-s", "--eval", "override OVERVIEW := @env \\#", "help"]
    done = subprocess.run(argv, cwd=ROOT, env=hostile(tmp_path), capture_output=True, text=True, check=True)
    left = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert "HETEROPD_STATE_DIR" in left
    assert left.isdisjoint(SETTINGS)


def test_make_hands_its_variables_on_but_its_own(tmp_path: Path) -> None:
    nox = tmp_path / "nox"
    nox.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    nox.chmod(0o755)
    odd = ["x=$y", "on=kubectl://pod?namespace=a&container=b", "z=a;b|c<d>(e)'f'\"g\"`h`*[i]{j,k}~#\\\\l"]
    argv = ["make", "-s", "build", "images=cpu router", "part.ucx=/a b", "PYTHON=python3.12", *odd]
    rule = f"override NOX := {nox}"
    done = subprocess.run([*argv, "--eval", rule], cwd=ROOT, capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words[:3] == ["-s", "build", "--"]
    assert set(words[3:]) == {"images=cpu router", "part.ucx=/a b", *odd}
