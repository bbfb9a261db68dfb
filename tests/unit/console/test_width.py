"""Tables in a pipe are not folded to a width that nobody has."""

import pytest
from rich.table import Table

from heteropd.console.width import console


def test_a_pipe_is_wide_and_columns_are_kept_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ["x" * 70, "y" * 70]
    table = Table.grid()
    table.add_row(*row)
    monkeypatch.delenv("COLUMNS", raising=False)
    console().print(table)
    assert "".join(row) in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "60")
    console(stderr=True).print(table)
    said = capsys.readouterr().err
    assert max(map(len, said.splitlines())) == 60
