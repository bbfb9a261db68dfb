"""The command line: words become parameters, mistakes become one line and exit status 2."""

import subprocess
import sys

import pytest

from heteropd.cli.main import main
from heteropd.config.arguments import Arguments
from heteropd.errors import EXIT_BAD_INPUT, EXIT_OK, BadInput, KitError


def test_dashes_and_equals_say_the_same() -> None:
    said = [["--hosts", "a.yaml"], ["--hosts=a.yaml"], ["hosts=a.yaml"]]
    assert {tuple(Arguments(words).rest) for words in said} == {("hosts=a.yaml",)}


def test_dashed_names_are_the_underscored_parameters() -> None:
    assert Arguments(["case1", "--prefill-port", "8101"]).rest == ["case1", "prefill_port=8101"]


@pytest.mark.parametrize(
    ("words", "on"),
    [(["--follow"], True), (["follow=1"], True), (["follow=0"], False), (["follow"], False), ([], False)],
)
def test_flags(words: list[str], on: bool) -> None:
    assert ("follow" in Arguments(words, flags=("follow",)).flags) is on


@pytest.mark.parametrize("word", ["--dry-run", "--dry_run", "dry-run=1", "dry_run=1"])
def test_dashes_in_a_flag_are_underscores_and_in_values_are_not(word: str) -> None:
    words = Arguments([word, "hosts=my-dry-run.yaml"], flags=("dry_run",))
    assert (words.flags, words.rest) == ({"dry_run"}, ["hosts=my-dry-run.yaml"])


def test_options_are_kept_apart_from_parameters() -> None:
    words = Arguments(["case1", "--format", "json", "port=9"], options=("format",))
    assert (words.options, words.rest) == ({"format": "json"}, ["case1", "port=9"])


@pytest.mark.parametrize("words", [["--hosts"], ["--hosts", "--format"]])
def test_an_option_without_its_value_is_refused(words: list[str]) -> None:
    with pytest.raises(BadInput, match="needs a value"):
        Arguments(words)


@pytest.mark.parametrize(
    "words", [["vaildate"], ["status", "now"], ["logs", "a", "b"], ["logs", "--tail", "all"], ["up", "--x"]]
)
def test_a_mistake_is_one_line_and_exit_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == EXIT_BAD_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "Traceback" not in said.err


def test_every_message_is_one_line_whatever_it_quotes() -> None:
    stop = BadInput("f.yaml", "a.b", "x\ny" * 400, "is\nwrong", "fix\nit")
    assert len(str(stop).splitlines()) == 1
    assert len(str(stop)) < 400
    assert isinstance(stop, KitError)


@pytest.mark.parametrize("word", ["help", "--help", "-h"])
def test_help_is_found_by_its_usual_names(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == EXIT_OK
    assert "run       Bring a case up" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from heteropd.cli.main import main; main(['help']); print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
