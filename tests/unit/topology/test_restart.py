"""Restarting roles of a running topology, with real processes."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.errors import EXIT_INTERRUPTED, BadInput, KitError, MissingPrerequisite, TopologyFailed
from heteropd.processes.identity import alive, send
from heteropd.topology import Context, down, load, restart, running, status, up
from heteropd.topology.lock import locked

ENGINES = {"prefill-0", "decode-0"}


def processes(kit):
    return {role.name: role.process for role in load(kit.context).roles}


def kill(kit, name):
    process = processes(kit)[name]
    send(process, signal.SIGKILL)
    kit.eventually(lambda: not alive(process), f"{name} is dead")


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("role", "dead", "anew"),
    [
        ("decode-0", [], ENGINES),
        ("prefill-0", [], ENGINES),
        ("router", [], {"router"}),
        ("decode-0", ["decode-0"], ENGINES),
        ("router", ["router"], {"router"}),
        ("router", ["prefill-0"], {"router", *ENGINES}),
        ("decode-0", ["router"], {"router", *ENGINES}),
    ],
)
def test_what_is_restarted_with_a_role(kit, role, dead, anew):
    """Engines go together, the router goes alone, what is dead goes with either."""
    first = up(kit.plan(), kit.context)
    before = processes(kit)
    for name in dead:
        kill(kit, name)
    topology = restart(role, kit.context)
    assert changed(before, processes(kit)) == anew
    assert (topology.id, topology.plan, topology.phase) == (first.id, first.plan, "up")
    assert not any(alive(before[name]) for name in anew)
    assert status(kit.context).state == "up"
    assert len(kit.tagged()) == 3
    assert kit.processes() == kit.tagged(), "no guard stays"


def test_it_says_what_goes_along_and_why(kit):
    up(kit.plan(), kit.context)
    restart("decode-0", kit.context)
    assert "restarting decode-0; prefill-0 too: engines keep connections" in kit.said()
    restart("router", kit.context)
    assert "restarting router alone" in kit.said()
    kill(kit, "router")
    restart("prefill-0", kit.context)
    assert "restarting prefill-0; router too: dead; decode-0 too: engines" in kit.said()


def test_what_a_killed_role_left_goes(kit, tmp_path):
    """Children that left its session, shared memory, temporary files; its log is kept beside the new one."""
    ours = f"/dev/shm/psm_{tmp_path.name}_restart"
    up(kit.plan(prefill=["--child"], decode=["--segment", ours]), kit.context)
    (kit.context.tmp_root / "decode-0" / "socket").touch()
    inode = Path(ours).stat().st_ino
    kill(kit, "prefill-0")
    kill(kit, "decode-0")
    assert len(kit.tagged()) == 2, "the router, and a child that outlived the prefill"
    restart("prefill-0", kit.with_timeouts(stop=0.5))
    assert len(kit.tagged()) == 4
    assert Path(ours).stat().st_ino != inode
    assert not (kit.context.tmp_root / "decode-0" / "socket").exists()
    assert (kit.state_dir / "logs" / "decode-0.previous.log").read_text().count("stub started") == 1
    assert kit.context.log("decode-0").read_text().count("stub started") == 1
    down(kit.with_timeouts(stop=0.5))
    kit.assert_nothing_left()
    assert not Path(ours).exists()


def test_status_and_what_needs_a_whole_topology_name_the_mend(kit):
    up(kit.plan(), kit.context)
    kill(kit, "decode-0")
    status(kit.context).show(kit.context.console)
    assert "decode-0 is dead: `make restart role=decode-0`" in kit.said()
    with pytest.raises(MissingPrerequisite, match=r"dead: decode-0\); `make restart role=decode-0`, or"):
        running(kit.context)


def test_a_role_that_is_not_there_is_refused_and_nothing_is_touched(kit):
    with pytest.raises(MissingPrerequisite, match="nothing is running"):
        restart("decode-0", kit.context)
    up(kit.plan(), kit.context)
    before = processes(kit)
    with pytest.raises(BadInput, match=r"decode-1.*choose one of: prefill-0, decode-0, router"):
        restart("decode-1", kit.context)
    with locked(kit.state_dir, "validate", kit.context.clock), pytest.raises(BadInput, match="validate"):
        restart("decode-0", kit.context)
    assert processes(kit) == before
    assert all(map(alive, before.values()))


def test_where_nothing_runs_any_more_a_start_is_asked_for(kit):
    up(kit.plan(), kit.context)
    for name in ("prefill-0", "decode-0", "router"):
        kill(kit, name)
    with pytest.raises(MissingPrerequisite, match=r"no role of case1 runs any more; .*make case1"):
        restart("decode-0", kit.context)


def test_a_role_that_does_not_come_back_is_said_and_the_others_stay(kit, tmp_path):
    broken = tmp_path / "broken"
    up(kit.plan(prefill=["--die-where", str(broken), "--say", "RuntimeError: no memory"]), kit.context)
    router = processes(kit)["router"]
    broken.touch()
    with pytest.raises(TopologyFailed, match=r"prefill-0 died .*no memory.* role=decode-0"):
        restart("decode-0", kit.context)
    assert alive(router)
    assert status(kit.context).state == "broken"
    broken.unlink()
    restart("decode-0", kit.context)
    assert (status(kit.context).state, processes(kit)["router"]) == ("up", router)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("word", ["restarting decode-0", "decode-0 (gaudi stand-in on cpu): starting"])
def test_an_interrupt_leaves_what_another_restart_or_down_mends(kit, tmp_path, signum, word):
    slow = tmp_path / "slow"
    up(kit.plan(decode=["--ill-where", str(slow), "--stubborn"]), kit.context)
    before = processes(kit)
    slow.touch()
    command = kit.fork(lambda: _command(kit.with_timeouts(stop=0.5)))
    command.until(word)
    command.send(signum)
    code, said = command.end()
    assert (code, "make restart role=decode-0" in said) == (EXIT_INTERRUPTED, True), said
    assert alive(before["router"])
    assert status(kit.context).state in ("up", "starting", "broken")
    slow.unlink()
    restart("decode-0", kit.with_timeouts(stop=0.5))
    assert status(kit.context).state == "up"
    assert len(kit.tagged()) == 3


def test_down_after_a_kit_that_was_killed_in_a_restart(kit, tmp_path):
    slow = tmp_path / "slow"
    up(kit.plan(decode=["--ill-where", str(slow)]), kit.context)
    slow.touch()
    command = kit.fork(lambda: _command(kit.context))
    command.until("decode-0 (gaudi stand-in on cpu): starting")
    time.sleep(0.1)
    command.send(signal.SIGKILL)
    command.end()
    assert down(kit.context).was_running
    kit.assert_nothing_left()


def _command(context: Context) -> int:
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))  # as the command line does
    try:
        restart("decode-0", _printing(context))
    except KitError as stop:
        print(f"{type(stop).__name__}: {stop}", flush=True)
        return stop.exit_code
    return 0


def _printing(context: Context) -> Context:
    return replace(context, console=Console(width=300, force_terminal=False))
