"""`compare` says in one line what it is to be given."""

import pytest

from heteropd.cli.main import main


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
