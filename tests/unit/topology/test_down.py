"""Ending, status and logs of what runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.processes.process_tree import tagged
from heteropd.topology import STANDIN_NOTICE, down, load, logs, running, status, up


def test_down_ends_all_and_is_idempotent(kit):
    up(kit.plan(), kit.context)
    report = down(kit.context)
    assert report.was_running
    assert [role.outcome for role in report.roles] == ["stopped"] * 3
    assert not report.ports_in_use
    kit.assert_nothing_left()
    assert (kit.state_dir / "logs" / "router.log").exists()
    again = down(kit.context)
    assert not again.was_running
    again.show(kit.context.console)
    assert "nothing is running" in kit.said()


def test_down_kills_what_ignores_sigterm_and_says_so(kit):
    up(kit.plan(decode=["--stubborn"]), kit.context)
    report = down(kit.with_timeouts(stop=0.5))
    assert {role.name: role.outcome for role in report.roles} == {
        "prefill-0": "stopped",
        "decode-0": "killed",
        "router": "stopped",
    }
    kit.assert_nothing_left()


def test_down_ends_descendants_that_left_the_session(kit):
    up(kit.plan(prefill=["--child"]), kit.context)
    assert len(tagged(kit.state_dir)) == 4
    report = down(kit.with_timeouts(stop=0.5))
    assert report.processes == 4
    kit.assert_nothing_left()


def test_down_finds_processes_without_any_state(kit):
    up(kit.plan(prefill=["--child"]), kit.context)
    (kit.state_dir / "state.json").unlink()
    report = down(kit.with_timeouts(stop=0.5))
    assert report.was_running
    assert report.processes == 4
    kit.assert_nothing_left()


def test_down_removes_shared_memory_of_ours_and_no_other(kit, tmp_path):
    ours, foreign = f"/dev/shm/psm_{tmp_path.name}_ours", f"/dev/shm/psm_{tmp_path.name}_foreign"
    Path(foreign).touch()
    try:
        topology = up(kit.plan(prefill=["--segment", ours, "--stubborn"]), kit.context)
        assert topology.segments == [ours]
        assert down(kit.with_timeouts(stop=0.2)).segments_removed == [ours]
    finally:
        Path(foreign).unlink()


def test_status_says_what_runs_and_that_it_is_a_stand_in(kit):
    assert status(kit.context).state == "nothing"
    with pytest.raises(MissingPrerequisite, match="nothing is running"):
        running(kit.context)
    topology = up(kit.plan(), kit.context)
    report = status(kit.context)
    assert (report.state, report.notice) == ("up", STANDIN_NOTICE)
    for role in report.roles:
        assert (role.state, role.health) == ("running", "ok")
        assert role.pid == topology.role(role.name).process.pid
        assert (kit.context.root / role.log).exists()
    assert [role.standin for role in report.roles] == [True, True, False]
    report.show(kit.context.console)
    assert "cuda: stand-in (cpu)" in kit.said()
    assert running(kit.context) == load(kit.context) == topology


def test_status_tells_a_sick_role_from_a_dead_one(kit):
    topology = up(kit.plan(prefill=["--die-after", "1.5"]), kit.context)
    while not topology.dead():
        kit.context.clock.sleep(0.05)
    report = status(kit.context)
    assert report.state == "broken"
    assert [role.state for role in report.roles] == ["dead", "running", "running"]


def test_logs_of_one_role_and_of_all(kit):
    up(kit.plan(), kit.context)
    logs(kit.context)
    assert [line for line in kit.said().splitlines() if "│ stub started" in line] == [
        "prefill-0 │ stub started",
        "decode-0  │ stub started",
        "router    │ stub started",
    ]
    with pytest.raises(BadInput, match="'engine': has no log; choose one of: prefill-0, decode-0, router"):
        logs(kit.context, "engine")


def test_following_logs_shows_what_is_added_until_ctrl_c(kit):
    up(kit.plan(), kit.context)
    path = kit.state_dir / "logs" / "decode-0.log"
    looks = []

    class Clock:
        def sleep(self, _seconds):
            looks.append(1)
            if len(looks) == 1:
                with path.open("a") as stream:
                    stream.write("\x1b[32mall is well\x1b[0m\nhalf a li")
            elif len(looks) == 2:
                with path.open("a") as stream:
                    stream.write("ne\n")
            else:
                raise KeyboardInterrupt

    logs(replace(kit.context, clock=Clock()), "decode-0", follow=True, tail=0)
    assert kit.said().splitlines()[-2:] == ["decode-0 │ all is well", "decode-0 │ half a line"]
