"""Signals and kill -9 at any moment. The kit is a process of its own here."""

import os
import random
import signal
import time

import pytest

from heteropd.errors import EXIT_INTERRUPTED
from heteropd.topology import down, load

SEED = 20261122
SLOW = ["--healthy-after", "3600"]


def validating():
    print("validating", flush=True)
    while True:  # a signal that comes just before a sleep is seen only after it
        time.sleep(0.1)


@pytest.fixture
def hard_plan(kit):
    """Never ready; one role ignores SIGTERM, another has a child that does and that left the session."""
    return kit.plan(decode=[*SLOW, "--stubborn"], prefill=["--child"])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_during_bring_up_leaves_nothing(kit, hard_plan, signum):
    command = kit.start(hard_plan)
    command.until("router (router): healthy")
    command.send(signum)
    code, said = command.end()
    assert code == EXIT_INTERRUPTED
    assert f"Interrupted: interrupted by {signum.name}; everything" in said
    kit.assert_nothing_left()


def test_a_signal_while_the_topology_is_worked_with_ends_it(kit):
    command = kit.start(kit.plan(), validating)
    command.until("validating")
    assert load(kit.context).phase == "up"
    command.send(signal.SIGINT)
    assert command.end()[0] == EXIT_INTERRUPTED
    kit.assert_nothing_left()


def test_a_signal_does_not_end_what_was_running_before(kit):
    assert kit.start(kit.plan()).end()[0] == 0
    command = kit.start(kit.plan(), validating)
    command.until("validating")
    command.send(signal.SIGTERM)
    assert command.end()[0] == EXIT_INTERRUPTED
    assert not load(kit.context).dead()


def test_more_ctrl_c_changes_nothing(kit, hard_plan):
    command = kit.start(hard_plan)
    command.until("router (router): healthy")
    for _ in range(5):
        command.send(signal.SIGINT)
        time.sleep(0.005)
    assert command.end()[0] == EXIT_INTERRUPTED
    kit.assert_nothing_left()


@pytest.mark.parametrize("attempt", range(4))
def test_an_impatient_parent_leaves_nothing(kit, hard_plan, attempt):
    """What nox does to a session on ctrl-C, at a random moment: half a second from SIGINT to SIGKILL."""
    moment = random.Random(SEED + attempt).uniform(0.0, 0.6)
    command = kit.start(hard_plan)
    command.until("command started")
    time.sleep(moment)
    for signum, seconds in ((signal.SIGINT, 0.3), (signal.SIGTERM, 0.2), (signal.SIGKILL, 0.0)):
        if not command.ended():
            command.send(signum)
            time.sleep(seconds)
    command.end()
    kit.assert_nothing_left()


@pytest.mark.parametrize("attempt", range(6))
def test_kill_9_at_a_random_moment_then_down_leaves_nothing(kit, hard_plan, attempt):
    moment = random.Random(SEED * 2 + attempt).uniform(0.0, 0.6)
    command = kit.start(hard_plan)
    command.until("command started")
    time.sleep(moment)
    command.send(signal.SIGKILL)
    command.end()
    down(kit.with_timeouts(stop=0.2))
    kit.assert_nothing_left()


def test_kill_9_of_kit_and_guard_then_down_leaves_nothing(kit, hard_plan):
    command = kit.start(hard_plan)
    command.until("router (router): healthy")
    guards = kit.processes() - kit.tagged()
    assert len(guards) == 1
    os.kill(guards.pop().pid, signal.SIGKILL)
    command.send(signal.SIGKILL)
    command.end()
    assert len(kit.tagged()) == 4
    assert down(kit.with_timeouts(stop=0.2)).was_running
    kit.assert_nothing_left()


def test_the_guard_alone_clears_up_after_kill_9(kit, hard_plan):
    command = kit.start(hard_plan)
    command.until("router (router): healthy")
    command.send(signal.SIGKILL)
    command.end()
    kit.assert_nothing_left()


def test_kill_9_once_it_is_up_leaves_it_up(kit):
    command = kit.start(kit.plan(), validating)
    command.until("validating")
    guards = kit.processes() - kit.tagged()
    command.send(signal.SIGKILL)
    command.end()
    while kit.processes() & guards:
        time.sleep(0.02)
    assert not load(kit.context).dead()


def test_the_death_of_the_kits_parent_ends_a_bring_up(kit, hard_plan):
    parent = kit.fork(lambda: kit.start(hard_plan).end()[0])
    kit.eventually(lambda: len(kit.processes()) == 5, "four processes and a guard")
    parent.send(signal.SIGKILL)
    parent.end()
    kit.assert_nothing_left()
