"""A verdict is shown before it is kept, and two validations at once are refused."""

import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from filelock import FileLock
from imagined import Topology as Imagined
from rich.console import Console

from heteropd import topology
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput
from heteropd.proof import command
from heteropd.proof.run import run
from heteropd.topology import Context, Topology
from heteropd.topology.lock import holder
from heteropd.topology.state import RoleState

ROOT = Path(__file__).parents[3]


@pytest.fixture
def validate(make_plan, tmp_path, monkeypatch, clock):
    """Validate an imagined topology by the command; gives the exit status and what was shown."""
    out = StringIO()
    state = tmp_path / "state"
    state.mkdir()

    def prove(fault=None, **more):
        imagined, plan = Imagined(fault), make_plan()
        roles = [RoleState(name=role.name, log=tmp_path / f"{role.name}.log") for role in plan.roles]
        for role in plan.engines:
            (tmp_path / f"{role.name}.log").write_text(imagined.log(role.name))
        recorded = Topology(
            id="x", phase="up", boot_id="b", fingerprint="f", created=datetime(2026, 1, 1, tzinfo=UTC),
            plan=plan, roles=roles,
        )  # fmt: skip
        monkeypatch.setattr(command, "run", lambda plan, settings, clock, console, options: run(
            plan, settings, clock, console,
            command.ProofOptions(options.thorough, options.logs, imagined.files, imagined.transport),
        ))  # fmt: skip
        context = Context(root=ROOT, console=Console(file=out, width=200), clock=clock, state_dir=state)
        return command.prove(recorded, context, **more), out.getvalue()

    prove.state = state
    return prove


def test_a_verdict_is_shown_and_kept(validate):
    code, shown = validate()
    assert code == EXIT_OK
    assert "PASS case1" in shown
    assert "Seen of the engines: prefill-0 16, decode-0 128, as planned; prefill-0 HND, decode-0 NHD" in shown
    folder = validate.state / "reports"
    assert shown.splitlines()[-2:] == [f"Report: {folder}/verdict.md", f"Page:   {folder}/verdict.html"]
    assert (folder / "verdict.html").read_text().startswith("<!doctype html>")
    assert validate("stale")[0] == EXIT_FAILED
    assert validate(came_up=True)[1].splitlines()[-1].split("#")[0].strip() == "make down"


def test_a_disk_that_is_full_does_not_lose_the_verdict(validate):
    (validate.state / "reports").symlink_to("/dev/full/reports")
    code, shown = validate()
    assert code == EXIT_OK
    assert "PASS case1" in shown
    assert "the report could not be kept" in shown.splitlines()[-1]


def test_a_second_validation_at_once_is_refused(validate):
    (validate.state / "reports").mkdir()
    lock = FileLock(validate.state / "reports/.validating")
    with lock, pytest.raises(BadInput, match="another validation"):
        validate()
    assert validate()[0] == EXIT_OK


def test_who_measures_makes_verdicts_and_nobody_else_does(validate):
    context = Context(root=ROOT, console=Console(), state_dir=validate.state)
    with command.measuring(context, "soak"):
        assert validate()[0] == EXIT_OK
        with pytest.raises(BadInput, match="another command is at work on it: soak, pid"):
            topology.restart("prefill-0", context)
        with pytest.raises(BadInput, match="at work on it: soak"), command.measuring(context, "bench"):
            raise AssertionError
        python = "import sys; from pathlib import Path; from heteropd.proof.command import _alone\n"
        python += "with _alone(Path(sys.argv[1])): pass"
        argv = [sys.executable, "-c", python, str(validate.state / "reports")]
        other = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT / "scripts", check=False)
        assert "BadInput: this topology: is being measured: soak, pid" in other.stderr
    assert holder(validate.state) == ""
    with command.measuring(context, "soak"):
        pass
