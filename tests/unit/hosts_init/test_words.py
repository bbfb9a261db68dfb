"""Words of `hosts init` that are refused, in one line, with nobody asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from heteropd.cli.main import main
from heteropd.hosts_init import nodes

BAD: dict[str, tuple[Sequence[str], str]] = {
    "no node": (["to=F"], "nodes: missing"),
    "no file": (["root@a"], "to: missing"),
    "an option": (["to=F", "-oProxyCommand=x"], "unknown parameter"),
    "an option of one letter": (["to=F", "-v"], "unknown parameter"),
    "a long option": (["to=F", "root@a", "--proxy"], "unknown parameter"),
    "a host that is an option": (["to=F", "root@-v"], "is not an ssh destination"),
    "a port": (["to=F", "root@a:22"], "is not an ssh destination"),
    "a URL": (["to=F", "ssh://root@a"], "is not an ssh destination"),
    "the same twice": (["to=F", "root@a", "root@a"], "is the same node as root@a"),
    "two users of one": (["to=F", "root@a", "me@A"], "is the same node as root@a"),
    "an unknown word": (["to=F", "root@a", "ruoter=a"], "did you mean 'router'?"),
    "an unknown router": (["to=F", "root@a", "router=b"], "is not one of the nodes"),
    "no folder": (["to=/nowhere/at/all.yaml", "root@a"], "is in no folder"),
    "a folder": (["to=env/hosts", "root@a"], "is a folder"),
    "no path": (["to=~nobody-here/x", "root@a"], "is not a path"),
    "no ssh configuration": (["to=F", "root@a", "ssh_config=/nowhere"], "is not a file"),
}


@pytest.fixture
def no_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "read_facts", lambda *_, **__: pytest.fail("a node was asked"))


@pytest.mark.usefixtures("no_ssh")
@pytest.mark.parametrize("name", BAD)
def test_bad_words_are_one_line_and_exit_status_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, said = BAD[name]
    assert main(["hosts", "init", *(word.replace("to=F", f"to={tmp_path}/f.yaml") for word in words)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert said in err
    assert not list(tmp_path.iterdir())
