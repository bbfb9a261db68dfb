"""Drills on a topology of stubs: promises that are kept, and each kind of broken promise seen as such."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from heteropd.config import validation
from heteropd.config.drills import Drills
from heteropd.config.drills import load as load_drills
from heteropd.drills import run
from heteropd.errors import BadInput, Interrupted, KitError
from heteropd.system import SystemClock
from heteropd.topology import down, restart, status, up

ROOT = Path(__file__).parents[3]
STUB = Path(__file__).with_name("engine_stub.py")
KILLS = [
    "decode-killed",
    "router-killed",
    "engine-out-of-memory",
    "prefill-killed-before",
    "prefill-killed-after",
]


@pytest.fixture(scope="module")
def stated() -> Drills:
    """The kit's own drills, with bounds that stubs keep on a busy machine too."""
    drills = load_drills(ROOT)
    entries = {
        name: one.model_copy(update={"bound_s": one.bound_s and 20.0}) for name, one in drills.drills.items()
    }
    return drills.model_copy(update={"drills": entries, "lease_s": 0.1})


@pytest.fixture
def stage(kit, tmp_path, stated):
    """A topology of engine stubs, and what performs drills on it."""
    faults = tmp_path / "faults"
    faults.mkdir()
    plan = kit.plan()
    prefill, decode, _ = kit.ports
    roles = []
    for role in plan.roles:
        words = [sys.executable, "-S", "-E", str(STUB), "--port", str(role.ports.api), "--role", role.role]
        words += ["--prefill", str(prefill), "--decode", str(decode), "--faults", str(faults)]
        roles.append(role.model_copy(update={"argv": words}))
    up(plan.model_copy(update={"roles": roles}), kit.context)

    def perform(*names, times=1, context=kit.context, drills=stated):
        return list(run.perform(names, times, context, validation.load(ROOT), drills))

    perform.plant = lambda name: (faults / name).touch()
    perform.remove = lambda name: (faults / name).unlink()
    perform.kit = kit
    return perform


@pytest.mark.parametrize("name", KILLS)
def test_a_promise_that_is_kept(stage, name):
    (result,) = stage(name)
    assert result.status == "held", result.seen
    assert result.fixed_s is not None
    assert result.answered_s is not None
    assert status(stage.kit.context).state == "up"
    assert len(stage.kit.tagged()) == 3
    said = {one.what: one.says for one in result.seen}
    assert said["left behind"] == "nothing"
    assert "broken: " in said["status"]


def test_a_prefill_that_comes_back_alone(stage):
    (result,) = stage("prefill-alone")
    assert result.status == "held", result.seen
    assert sum("new alone" in one.what for one in result.seen) == 10
    assert len(stage.kit.tagged()) == 3


def test_several_times_and_all_that_can_be_performed(stage):
    results = stage("ports-taken", "partition", "clock-skew", times=2)
    assert [(one.name, one.status) for one in results] == [
        ("ports-taken", "held"),
        ("ports-taken", "held"),
        ("partition", "skipped"),
        ("clock-skew", "skipped"),
    ]
    assert "hosts of their own" in results[2].why


def test_late_kv_that_is_right_keeps_the_promise_and_wrong_kv_breaks_it(stage):
    """The fault that the drill is for: the blocks of another prompt, answered as good."""
    results = stage("lease-expired", "decode-frozen")
    assert [one.status for one in results] == ["held", "held"], results

    class Clock(SystemClock):
        def sleep(self, seconds):
            stage.plant("wrong")  # when the drill waits for the lease to end
            super().sleep(seconds)

    results = stage("lease-expired", context=replace(stage.kit.context, clock=Clock()))
    stage.remove("wrong")
    results += stage("decode-frozen", context=replace(stage.kit.context, clock=Clock()))
    assert [one.status for one in results] == ["broken", "broken"]
    for result, what in zip(results, ("the late fetch", "the request that waited"), strict=True):
        assert (result.broken[0].what, "not the healthy answer" in result.broken[0].says) == (what, True)


def test_a_wrong_answer_after_a_restart_breaks_the_promise(stage):
    def wrong_once_ended(*_, **__):
        stage.plant("wrong")

    context = replace(
        stage.kit.context, console=_Watching(stage.kit.context.console, "restarting", wrong_once_ended)
    )
    (result,) = stage("router-killed", context=context)
    assert result.status == "broken"
    assert any(one.what == "after the restart" for one in result.broken)


def test_silence_breaks_the_promise(stage, stated):
    """A request that has no answer within the bound, nor within twice that."""
    entry = stated.drills["prefill-killed-after"].model_copy()
    drills = stated.model_copy(update={"drills": {"prefill-killed-after": entry}})

    def hang():
        stage.plant("hang")
        entry.__dict__["bound_s"] = 0.5  # not before: what answers has all the time that this machine takes

    console = _Watching(stage.kit.context.console, "prefill-0 killed", hang)
    console = _Watching(console, "the decode alone", lambda: stage.remove("hang"))
    (result,) = stage(
        "prefill-killed-after", context=replace(stage.kit.context, console=console), drills=drills
    )
    assert result.status == "broken"
    assert any("no answer within 1 s" in one.says for one in result.broken)
    assert status(stage.kit.context).state == "up"


@pytest.mark.parametrize("fault", ["clean-cut", None])
def test_a_stream_that_is_cut_off_is_seen_as_that(stage, fault):
    """The client must be able to tell; both ways of ending it can be told from a whole answer."""
    if fault:
        stage.plant(fault)
    (result,) = stage("decode-killed")
    (stream,) = (one for one in result.seen if one.what == "the stream")
    assert "cut off after" in stream.says
    assert ("ends without [DONE]" in stream.says) == bool(fault)
    assert result.status == "held"


@pytest.mark.parametrize("word", ["a new request", "restarting"])
def test_an_interrupt_is_none_of_a_drills_results(stage, word):
    """It ends the command, in the middle of a fault or of the restart; `restart` fixes what is left."""

    def interrupt():
        raise KeyboardInterrupt

    console = _Watching(stage.kit.context.console, word, interrupt)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        stage("router-killed", context=replace(stage.kit.context, console=console))
    assert status(stage.kit.context).state in ("starting", "broken")
    restart("router", stage.kit.context)
    assert status(stage.kit.context).state == "up"


def test_a_topology_that_is_wrong_already_is_not_drilled(stage):
    stage.plant("wrong")
    with pytest.raises(KitError, match="not well before any fault"):
        stage("decode-killed")
    assert status(stage.kit.context).state == "up"


def test_what_is_not_a_stand_in_of_this_machine_needs_consent(kit, stated):
    plan = kit.plan()
    run.require_consent(plan, stated, ["decode-killed"])
    hardware = [role.model_copy(update={"runs_on": role.platform}) for role in plan.roles]
    elsewhere = [
        role.model_copy(
            update={
                "host": role.host.model_copy(update={"ssh": f"h-{role.role}", "name": role.name}),
                "env": {"UCX_TLS": "tcp"},
            }
        )
        for role in plan.roles
    ]
    with pytest.raises(BadInput, match="on hardware: decode-0 on here, router on here; say yes=1"):
        run.require_consent(
            plan.model_copy(update={"roles": hardware}), stated, ["decode-killed", "router-killed"]
        )
    with pytest.raises(BadInput, match="on other hosts: the network between prefill-0 and decode-0"):
        run.require_consent(plan.model_copy(update={"roles": elsewhere}), stated, ["partition"])


@pytest.mark.parametrize("words", [[], ["decode-kiled"]])
def test_an_unknown_drill_is_refused(stated, words):
    with pytest.raises(BadInput, match="say all, or some of: decode-killed"):
        run.chosen(stated, words)


def test_all_is_all_in_the_order_in_which_they_are_stated(stated):
    assert run.chosen(stated, ["all"]) == list(stated.drills)
    assert run.chosen(stated, ["router-killed", "decode-killed"]) == ["decode-killed", "router-killed"]


def test_every_drill_that_is_stated_as_performed_is_there(stated):
    performed = {name for name, one in stated.drills.items() if one.instead is None}
    assert performed == set(run.DRILLS)


def test_nothing_stays_of_a_drilled_topology(stage):
    stage("decode-killed")
    down(stage.kit.context)
    stage.kit.assert_nothing_left()


class _Watching:
    """A console that does something when a word is said."""

    def __init__(self, console, word, act):
        self._console, self._word, self._act = console, word, act

    def print(self, *words, **options):
        self._console.print(*words, **options)
        if any(self._word in str(one) for one in words):
            self._act()

    def __getattr__(self, name):
        return getattr(self._console, name)
