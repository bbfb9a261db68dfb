"""`status` and what needs a running topology: more than a health path, in bounded time."""

import os
import signal

import pytest

from heteropd.engine_api.responses import EngineResponse
from heteropd.errors import MissingPrerequisite
from heteropd.topology import probe, running, status, up
from heteropd.topology.lock import locked


def health(kit):
    report = status(kit.context)
    report.show(kit.context.console)
    return report.state, {role.name: role.health for role in report.roles}


@pytest.fixture
def impatient(kit, monkeypatch):
    """From now on a role has 0.3 s to answer a method; what is slow elsewhere is this machine."""

    def wait_less(name, method):
        url = next(role.url for role in kit.plan().roles if role.name == name)
        request = probe.RoleProbe.request

        def quick(self, asked, where, body=None, *, limit_s):
            limit_s = 0.3 if asked == method and where.startswith(url) else limit_s
            return request(self, asked, where, body, limit_s=limit_s)

        monkeypatch.setattr(probe.RoleProbe, "request", quick)

    return wait_less


@pytest.fixture
def stopped(kit):
    """Stops a role's process as a debugger would; it goes on at the end."""
    pids = []

    def stop(name):
        pids.append(next(role.pid for role in status(kit.context).roles if role.name == name))
        os.kill(pids[-1], signal.SIGSTOP)

    yield stop
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_an_engine_that_listens_and_does_not_compute_is_seen(kit, tmp_path, impatient, role):
    """What a stopped engine core looks like from outside: the API server in front of it is healthy."""
    stuck = tmp_path / "stuck"
    up(kit.plan(**{role: ["--hang-where", str(stuck)]}), kit.context)
    assert health(kit)[0] == "up"
    stuck.touch()
    impatient(f"{role}-0", "POST")
    state, healths = health(kit)
    assert state == "broken"
    assert healths.pop(f"{role}-0") == "listens, but gives no token: no answer within 0.3 s"
    assert set(healths.values()) == {"ok"}
    assert f"{role}-0 does not answer: `make logs role={role}-0`" in kit.said()


@pytest.mark.parametrize("name", ["router", "decode-0"])
def test_a_process_that_is_stopped_is_said_at_once(kit, stopped, impatient, name):
    up(kit.plan(), kit.context)
    stopped(name)
    impatient(name, "GET")
    state, healths = health(kit)
    assert (state, healths[name]) == ("broken", "no answer within 0.3 s")
    with pytest.raises(MissingPrerequisite, match=rf"{name} of case1 runs, but its server does not answer"):
        running(kit.context)


def test_no_token_is_asked_for_while_somebody_counts_them(kit, tmp_path):
    stuck = tmp_path / "stuck"
    up(kit.plan(decode=["--hang-where", str(stuck)]), kit.context)
    stuck.touch()
    with locked(kit.state_dir, "validate", kit.context.clock):
        state, healths = health(kit)
    assert (state, healths["decode-0"]) == ("up", "ok")
    assert f"at work: validate, pid {os.getpid()}" in kit.said()


@pytest.mark.parametrize(("pages", "kind"), [((5, 9), "whole"), ((5, 5), "late"), ((None, None), "late")])
def test_an_engine_that_is_busy_is_not_taken_for_stuck(kit, monkeypatch, pages, kind):
    metrics = iter(pages)

    def request(_self, method, _url, _body=None, *, limit_s):
        if method == "POST":
            return EngineResponse("late", None, f"{limit_s:g} s")
        tokens = next(metrics)
        if tokens is None:
            return EngineResponse("refused", 404, "no metrics")
        return EngineResponse("whole", 200, f"vllm:generation_tokens_total {tokens}\n")

    monkeypatch.setattr(probe.RoleProbe, "request", request)
    monkeypatch.setattr(probe, "_BUSY_LOOK_S", 0.0)
    plan = kit.plan()
    with probe.RoleProbe(kit.context.timeouts) as look:
        assert look.token(plan, plan.engines[1]).kind == kind
