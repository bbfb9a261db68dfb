"""A host whose container engine does not answer: nobody knows what runs there, so nothing is said of it."""

import subprocess

import pytest

from heteropd.console.progress import Progress
from heteropd.containers.lifecycle import ContainerRef
from heteropd.errors import Interrupted, MissingPrerequisite, TopologyFailed
from heteropd.plan.model import ContainerPlan
from heteropd.processes.identity import boot_id, identify
from heteropd.topology import InterruptScope, RoleState, Topology, down, load, running, status, up
from heteropd.topology.probe import RoleProbe
from heteropd.topology.state import save
from heteropd.topology.waiting import Waiting


@pytest.fixture
def away(tmp_path, monkeypatch):
    """The address of an engine that nobody answers at; the plan's hosts have it."""
    url = f"unix://{tmp_path}/nobody.sock"
    monkeypatch.setenv("DOCKER_HOST", url)
    return url


@pytest.fixture
def topology(kit, away):
    """Recorded as up: every role in a container of that engine."""
    plan = kit.plan()
    box = ContainerPlan(image="heteropd/cpu:test", args=[], device_args=[])
    roles = [role.model_copy(update={"container": box}) for role in plan.roles]
    plan = plan.model_copy(update={"runtime": "docker", "roles": roles})
    found = Topology(
        id="0123456789ab",
        phase="up",
        boot_id=boot_id(),
        fingerprint=plan.fingerprint(),
        created=kit.context.clock.wall(),
        plan=plan,
        roles=[_state(kit, role.name, away) for role in plan.roles],
        docker_hosts=[away],
        folders=[kit.context.tmp_root],
    )
    save(found, kit.state_dir)
    return found


def _state(kit, name, engine):
    box = ContainerRef(id=f"id-{name}", name=f"heteropd-{name}", docker_host=engine)
    return RoleState(name=name, log=kit.context.log(name), container=box, started=kit.context.clock.wall())


@pytest.mark.usefixtures("topology")
def test_status_says_that_it_does_not_know(kit):
    report = status(kit.context)
    assert {role.state for role in report.roles} == {"not reached"}
    assert report.state == "broken"
    report.show(kit.context.console)
    assert "the host does not answer" in kit.said()
    assert "restart" not in kit.said()
    with pytest.raises(MissingPrerequisite, match="does not answer"):
        running(kit.context)


def test_what_may_run_is_not_cleared_away(kit, topology):
    with pytest.raises(MissingPrerequisite, match="which does not answer"):
        up(topology.plan, kit.context)
    assert load(kit.context) == topology


def test_another_plan_waits_for_what_may_run(kit, topology):
    """The new plan needs no engine, but one role of the old one is seen to run: so may the others."""
    with subprocess.Popen(["sleep", "60"]) as child:
        alive = topology.roles[2].model_copy(update={"process": identify(child.pid), "container": None})
        mixed = topology.with_role(alive)
        save(mixed, kit.state_dir)
        with pytest.raises(MissingPrerequisite, match="make down"):
            up(kit.plan(), kit.context)
        child.kill()
    assert load(kit.context) == mixed


def test_another_plan_need_not_wait_for_what_nobody_sees(kit, topology):
    """Nothing of the old one is seen to run, and the new one goes elsewhere: what may run on is said."""
    up(kit.plan(), kit.context)
    assert f"no answer from {topology.docker_hosts[0]}: what was started there may run on" in kit.said()
    assert status(kit.context).state == "up"


def test_down_keeps_the_record(kit, topology):
    report = down(kit.context)
    assert (report.ok, report.containers, report.missed) == (False, 0, topology.docker_hosts)
    assert {role.outcome for role in report.roles} == {"not reached"}
    assert f"{topology.docker_hosts[0]}: no answer" in report.notes[0]
    assert load(kit.context) == topology


def test_an_interrupt_does_not_claim_to_have_ended_all(kit, topology):
    def interrupted():
        with InterruptScope(kit.context) as hold:
            hold.adopt(topology.id, topology.leftovers)
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="may run on until `make down`"):
        interrupted()
    assert load(kit.context) == topology


def test_a_host_lost_in_the_bring_up_is_no_dead_role(kit, topology):
    with RoleProbe(kit.context.timeouts) as probe, Progress(kit.context.console, 60) as progress:
        waiting = Waiting(kit.context, topology, probe)
        waiting.started(topology, "decode-0")
        with pytest.raises(TopologyFailed, match="here was lost 0 s after the start of decode-0") as stop:
            waiting.until_healthy(topology.plan.engines, progress)
    assert "make down" in stop.value.hint
