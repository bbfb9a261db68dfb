"""Signals and kill -9 at any moment. The kit is a process of its own here."""

import os
import random
import signal
import subprocess
import time

import pytest

from heteropd.errors import EXIT_INTERRUPTED
from heteropd.topology import down, load

SEED = 20261122
SLOW = ["--healthy-after", "3600"]


def until(process, word):
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"the kit ended without saying {word!r}")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_during_bring_up_leaves_nothing(kit, signum):
    with kit.start(kit.plan(decode=[*SLOW, "--stubborn"], prefill=["--child"])) as process:
        until(process, "router (router): healthy")
        process.send_signal(signum)
        out, _ = process.communicate()
    assert process.returncode == EXIT_INTERRUPTED
    assert f"Interrupted: interrupted by {signum.name}; everything" in out
    kit.assert_nothing_left()


def test_a_signal_while_the_topology_is_worked_with_ends_it(kit):
    with kit.start(kit.plan(), "validate") as process:
        until(process, "validating")
        assert load(kit.context).phase == "up"
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == EXIT_INTERRUPTED
    kit.assert_nothing_left()


def test_a_signal_does_not_end_what_was_running_before(kit):
    with kit.start(kit.plan()) as process:
        process.communicate()
    assert process.returncode == 0
    with kit.start(kit.plan(), "validate") as process:
        until(process, "validating")
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == EXIT_INTERRUPTED
    assert not load(kit.context).dead()


def test_a_second_ctrl_c_changes_nothing(kit):
    with kit.start(kit.plan(decode=SLOW)) as process:
        until(process, "router (router): healthy")
        for _ in range(5):
            process.send_signal(signal.SIGINT)
            time.sleep(0.005)
        process.communicate()
    assert process.returncode == EXIT_INTERRUPTED
    kit.assert_nothing_left()


@pytest.mark.parametrize("attempt", range(4))
def test_an_impatient_parent_leaves_nothing(kit, attempt):
    """What nox does to a session on ctrl-C: half a second from SIGINT to SIGKILL, at any moment."""
    moment = random.Random(SEED + attempt).uniform(0.0, 0.8)
    with kit.start(kit.plan(decode=SLOW, prefill=["--child"])) as process:
        until(process, "kit started")
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        for seconds, end in ((0.3, process.terminate), (0.2, process.kill)):
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                end()
    kit.assert_nothing_left()


@pytest.mark.parametrize("attempt", range(6))
def test_kill_9_at_a_random_moment_then_down_leaves_nothing(kit, attempt):
    moment = random.Random(SEED * 2 + attempt).uniform(0.0, 0.8)
    with kit.start(kit.plan(decode=[*SLOW, "--stubborn"], prefill=["--child"])) as process:
        until(process, "kit started")
        time.sleep(moment)
        process.kill()
    down(kit.with_timeouts(stop=0.2))
    kit.assert_nothing_left()


def test_kill_9_of_kit_and_guard_then_down_leaves_nothing(kit):
    with kit.start(kit.plan(decode=[*SLOW, "--stubborn"], prefill=["--child"])) as process:
        until(process, "router (router): healthy")
        guards = {one.pid for one in kit.processes()} - {one.pid for one in kit.marked()}
        assert len(guards) == 1
        os.kill(guards.pop(), signal.SIGKILL)
        process.kill()
    assert kit.marked()
    report = down(kit.with_timeouts(stop=0.2))
    assert report.was_running
    kit.assert_nothing_left()


def test_the_guard_alone_clears_up_after_kill_9(kit):
    with kit.start(kit.plan(decode=[*SLOW, "--stubborn"], prefill=["--child"])) as process:
        until(process, "router (router): healthy")
        process.kill()
    kit.assert_nothing_left()


def test_kill_9_once_it_is_up_leaves_it_up(kit):
    with kit.start(kit.plan(), "validate") as process:
        until(process, "validating")
        process.kill()
    time.sleep(1.5)
    assert not load(kit.context).dead()


def test_the_death_of_the_kits_parent_ends_a_bring_up(kit):
    plan = kit.plan(decode=SLOW)
    argv = kit.argv(plan)
    parent = subprocess.Popen(["/bin/sh", "-c", '"$@"; true', "sh", *argv], stdout=subprocess.PIPE, text=True)
    with parent:
        until(parent, "router (router): healthy")
        parent.kill()
    kit.assert_nothing_left()
