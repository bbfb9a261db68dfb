"""The verb: from words to hosts, and to an exit status."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from doctor_hosts import ROOT, plan_of
from rich.console import Console

from heteropd.cli.main import main
from heteropd.doctor import command
from heteropd.errors import EXIT_BAD_INPUT
from heteropd.topology import Context, Topology
from heteropd.topology.state import RoleState, save


@pytest.fixture
def quiet(tmp_path: Path) -> Context:
    return Context(root=ROOT, console=Console(file=io.StringIO()), state_dir=tmp_path)


def test_the_verb_on_this_machine(quiet: Context, capsys: pytest.CaptureFixture[str]) -> None:
    code = command.run(None, quiet, command.DoctorOptions(as_json=True))
    said = json.loads(capsys.readouterr().out)
    assert code == (0 if said["ok"] else 1)
    assert {one["place"] for one in said["results"]} == {"this machine"}


def test_the_verb_names_what_a_standin_does_not_need(quiet: Context) -> None:
    command.run(plan_of("case1"), quiet, command.DoctorOptions(everything=True))
    said = quiet.console.file.getvalue()  # type: ignore[attr-defined]
    assert "T2-10-verbs-devices" in said
    assert "a stand-in does not need it" in said


def test_a_container_and_a_case_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "case1", "container=prefill-0"]) == EXIT_BAD_INPUT
    assert "'case1': does not go with container=" in capsys.readouterr().err


def test_a_recorded_topology_that_is_dead_fails(quiet: Context, tmp_path: Path) -> None:
    plan = plan_of("case1 prefill_port=21101 decode_port=21102 port=21103")
    (tmp_path / "decode-0.log").write_text("WARNING Potentially invalid KV blocks\n")
    roles = [RoleState(name=role.name, log=tmp_path / f"{role.name}.log") for role in plan.roles]
    dead = Topology(
        id="one",
        phase="up",
        boot_id="",
        fingerprint=plan.fingerprint(),
        created=datetime.now(UTC),
        plan=plan,
        roles=roles,
    )
    save(dead, tmp_path)
    report = command.examine_hosts(None, quiet)
    said = {result.id: result for result in report.findings if result.place == "case1, running"}
    assert {name for name, result in said.items() if result.status == "FAIL"} == {
        "T4-30-expired",
        "T4-34-roles",
    }
    assert "decode-0: not started" in said["T4-34-roles"].text
    assert not [result for result in said.values() if result.status == "PASS"]
