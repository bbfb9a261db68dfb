"""Bringing up, reusing, refusing, and every way of not coming up."""

import json
import os
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from heteropd.errors import BadInput, MissingPrerequisite, TopologyFailed
from heteropd.processes.identity import Identity
from heteropd.topology import STANDIN_NOTICE, down, load, running, status, up
from heteropd.topology.lock import locked
from heteropd.topology.state import save


def test_up_waits_for_a_completion_and_not_only_for_health(kit):
    topology = up(kit.plan(prefill=["--healthy-after", "0.3"], router=["--refuse", "3"]), kit.context)
    assert topology.phase == "up"
    assert all(role.alive and role.healthy_after_s is not None for role in topology.roles)
    assert topology.role("prefill-0").healthy_after_s >= 0.2
    assert topology.ready_after_s >= max(role.healthy_after_s for role in topology.roles)
    assert load(kit.context) == topology
    assert STANDIN_NOTICE in kit.said()
    assert "prefill-0 (cuda stand-in on cpu): healthy after" in kit.said()


def test_variables_that_engines_do_not_get_are_named(kit):
    environ = {**kit.context.environ, "VLLM_USE_V1": "[0]"}
    up(kit.plan(), replace(kit.context, environ=environ))
    (line,) = (line for line in kit.said().splitlines() if line.startswith("not passed on"))
    assert "VLLM_USE_V1" in line


def test_state_is_private_and_holds_no_secret(kit):
    context = replace(kit.context, environ={**os.environ, "HF_TOKEN": "hf_secret"})
    record = kit.context.root / "env.json"
    up(kit.plan(decode=["--record", str(record)], env={"TOKEN_COPY": "${HF_TOKEN}"}), context)
    child = json.loads(record.read_text())
    assert child["HF_TOKEN"] == child["TOKEN_COPY"] == "hf_secret"
    for path in kit.state_dir.rglob("*"):
        assert not path.is_file() or b"hf_secret" not in path.read_bytes()
    assert stat.S_IMODE((kit.state_dir / "state.json").stat().st_mode) == 0o600


def test_second_up_reuses_the_same_processes(kit):
    first = up(kit.plan(), kit.context)
    assert up(kit.plan(), kit.context) == first
    assert "running already" in kit.said()


def test_a_different_plan_is_refused_and_the_running_one_stays(kit):
    first = up(kit.plan(), kit.context)
    asked = kit.plan(parameters={"prefill_port": 1, "decode_port": kit.ports[1], "port": kit.ports[2]})
    with pytest.raises(BadInput, match=f"prefill_port {kit.ports[0]} -> 1; .*make down"):
        up(asked, kit.context)
    assert load(kit.context) == first
    assert not first.dead()


def test_a_dead_role_fails_at_once_with_its_last_lines_and_a_hint(kit):
    trouble = "RuntimeError: No available memory for the cache blocks."
    flags = ["--die-after", "0.2", "--say", trouble, "--exit-code", "3"]
    with pytest.raises(TopologyFailed, match=r"decode-0 died .*exit status 3.*No available memory") as failed:
        up(kit.plan(decode=flags, router=["--refuse", "100000"]), kit.context)
    assert failed.value.log_tail == ["stub started", trouble]
    assert "KV cache does not fit" in failed.value.hint
    kit.assert_nothing_left()
    assert trouble in (kit.state_dir / "logs" / "decode-0.log").read_text()


def test_a_role_that_dies_while_a_completion_is_awaited_fails_at_once(kit):
    with pytest.raises(TopologyFailed, match="prefill-0 died"):
        up(kit.plan(prefill=["--die-after", "0.8"], router=["--refuse", "100000"]), kit.context)
    kit.assert_nothing_left()


def test_a_role_that_never_gets_healthy_is_named(kit):
    with pytest.raises(TopologyFailed, match="decode-0 was not healthy") as failed:
        up(
            kit.plan(decode=["--healthy-after", "3600"]),
            kit.late_once("prefill-0 (cuda stand-in on cpu): healthy"),
        )
    assert failed.value.log_tail == ["stub started"]
    kit.assert_nothing_left()


def test_a_router_that_never_answers_is_quoted(kit):
    with pytest.raises(TopologyFailed, match=r"no completion came through.*No available workers"):
        up(kit.plan(router=["--refuse", "100000"]), kit.late_once("No available workers"))
    kit.assert_nothing_left()


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_where_no_completion_comes_through_the_engines_logs_are_read(kit, role):
    """The router only says that it got no answer; which of both engines is in trouble, its log says."""
    trouble = "RuntimeError: KV cache of torch.float32 and of torch.bfloat16 and same dtype."
    plan = kit.plan(**{role: ["--complain", trouble]}, router=["--refuse", "100000"])
    with pytest.raises(
        TopologyFailed, match=f"no completion came through.*{role}-0 says: RuntimeError"
    ) as failed:
        up(plan, kit.late_once("No available workers"))
    assert failed.value.log_tail == ["stub started", trouble]
    assert "--dtype" in failed.value.hint
    kit.assert_nothing_left()


def test_a_refused_completion_is_not_asked_for_ten_minutes(kit):
    with pytest.raises(TopologyFailed, match="refuses a completion: HTTP 404"):
        up(kit.plan(router=["--refuse", "100000", "--refuse-code", "404"]), kit.context)
    kit.assert_nothing_left()


def test_a_program_that_is_missing_is_said_in_one_line(kit):
    plan = kit.plan()
    roles = [plan.roles[0], plan.roles[1].model_copy(update={"argv": ["/no/such/engine"]}), plan.roles[2]]
    with pytest.raises(MissingPrerequisite, match="decode-0: /no/such/engine cannot be run"):
        up(plan.model_copy(update={"roles": roles}), kit.context)
    kit.assert_nothing_left()


def test_a_port_in_use_is_named_with_its_holder_and_nothing_starts(kit):
    match = rf"decode-0.ports.api: {kit.ports[1]}: in use by .*pid {os.getpid()}"
    with socket.create_server(("127.0.0.1", kit.ports[1])), pytest.raises(BadInput, match=match):
        up(kit.plan(), kit.context)
    assert "starting" not in kit.said()
    kit.assert_nothing_left()


@pytest.mark.parametrize(
    ("change", "what"),
    [({"memory_gib": 1e6}, "GiB of memory"), ({"disk_gib": 1e9}, "GiB free")],
    ids=["memory", "disk"],
)
def test_too_small_a_machine_is_said_before_anything_starts(kit, change, what):
    with pytest.raises(MissingPrerequisite, match=what):
        up(kit.plan(), replace(kit.context, **change))
    kit.assert_nothing_left()


def test_a_plan_for_containers_needs_an_engine(kit, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{kit.state_dir}/nowhere.sock")
    with pytest.raises(MissingPrerequisite, match=r"no container engine answers at unix://.*nowhere.sock"):
        up(kit.plan(runtime="docker"), kit.context)


def test_plans_for_other_hosts_are_refused(kit):
    plan = kit.plan()
    far = plan.roles[0].host.model_copy(update={"ssh": "root@far"})
    roles = [plan.roles[0].model_copy(update={"host": far}), *plan.roles[1:]]
    with pytest.raises(BadInput, match=r"prefill-0\.host.*this machine only"):
        up(plan.model_copy(update={"roles": roles}), kit.context)


def test_two_ups_at_a_time_the_second_names_the_first(kit):
    with (
        locked(kit.state_dir, "up", kit.context.clock),
        pytest.raises(BadInput, match=f"up, pid {os.getpid()}"),
    ):
        up(kit.plan(), kit.context)


def test_a_broken_topology_is_cleared_and_started_anew(kit):
    first = up(kit.plan(prefill=["--die-after", "2"]), kit.context)
    old = {role.process for role in first.roles}
    while not first.dead():
        kit.context.clock.sleep(0.05)
    with pytest.raises(MissingPrerequisite, match="dead: prefill-0"):
        running(kit.context)
    second = up(kit.plan(), kit.context)
    assert "prefill-0 is dead" in kit.said()
    assert not old & {role.process for role in second.roles}


def test_stale_state_is_cleared_without_touching_who_has_the_pids_now(kit):
    topology = up(kit.plan(), kit.context)
    down(kit.context)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as foreign:
        # The same pid, another start: what the state of a crashed kit may name after a while.
        stale = Identity(foreign.pid, 1, topology.boot_id)
        roles = [role.model_copy(update={"process": stale}) for role in topology.roles]
        save(topology.model_copy(update={"roles": roles}), kit.state_dir)
        assert status(kit.context).state == "broken"
        up(kit.plan(), kit.context)
        assert "stale state" in kit.said()
        assert foreign.poll() is None
        foreign.kill()


def test_state_from_before_a_reboot_is_stale(kit):
    topology = up(kit.plan(), kit.context)
    down(kit.context)
    save(topology.model_copy(update={"boot_id": "another"}), kit.state_dir)
    up(kit.plan(), kit.context)
    assert "before this machine was started" in kit.said()


def test_an_unreadable_state_is_cleared_with_its_processes(kit):
    first = up(kit.plan(), kit.context)
    (kit.state_dir / "state.json").write_text('{"id": 1}')
    with pytest.raises(BadInput, match=r"state\.json: not a state file"):
        status(kit.context)
    second = up(kit.plan(), kit.context)
    assert first.dead() == ["prefill-0", "decode-0", "router"]
    assert not second.dead()


def test_temporary_folders_have_short_paths_and_are_our_own(kit):
    short = replace(kit.context, state_dir=Path("/srv/kit/.heteropd"))
    assert short.tmp_root == Path("/srv/kit/.heteropd/tmp")
    assert len(str(kit.context.tmp_root)) <= 45
    up(kit.plan(), kit.context)
    assert stat.S_IMODE(kit.context.tmp_root.stat().st_mode) == 0o700
    down(kit.context)
    kit.assert_nothing_left()
