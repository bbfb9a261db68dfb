"""Finding a topology again on its hosts, with nothing but the hosts file."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.app import operations, wiring
from heteropd.config.env import load_hosts
from heteropd.config.machine import Machine
from heteropd.containers import lifecycle, ssh_tunnel
from heteropd.containers.docker_host import of_plan
from heteropd.containers.lifecycle import ContainerRef
from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.plan.model import Plan
from heteropd.topology import Context, down
from heteropd.topology import recover as recover_it
from heteropd.topology.recover import packed, unpacked
from heteropd.topology.state import load
from plan_words import make

ROOT = Path(__file__).parents[3]
EXAMPLE = "env/hosts/example.yaml"


def planned() -> Plan:
    return make(["case1", f"hosts={EXAMPLE}"], ROOT, Machine(cores=[0, 1]))


def test_a_plan_survives_as_a_label() -> None:
    plan = planned()
    assert unpacked(packed(plan)) == plan
    assert len(packed(plan)) < 8192


@pytest.mark.parametrize("label", ["", "no base64!", "eJwDAAAAAAE=", "bm8="])
def test_a_label_of_another_version_is_none(label: str) -> None:
    assert unpacked(label) is None


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(root=ROOT, console=Console(file=io.StringIO(), width=200), state_dir=tmp_path / "state")


def containers(plan: Plan, topology: str = "a1b2c3") -> dict[str, dict[ContainerRef, dict[str, str]]]:
    """What the Docker hosts of the example answer, by address."""
    found: dict[str, dict[ContainerRef, dict[str, str]]] = {}
    for role, url in zip(plan.roles, of_plan(plan), strict=True):
        ref = ContainerRef(id=f"id-{role.name}", name=f"heteropd-{topology}-{role.name}", docker_host=url)
        labels = lifecycle.labels(Path("/home/me/kit/.heteropd"), topology, role.name, plan.fingerprint())
        found[url] = {ref: {**labels, lifecycle.PLAN: packed(plan)}}
    return found


def test_a_topology_is_found_on_its_hosts(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned()
    monkeypatch.setattr(lifecycle, "find", containers(plan).__getitem__)
    found = recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context)
    assert found is not None
    assert (found.id, found.plan, found.docker_hosts) == ("a1b2c3", plan, of_plan(plan))
    assert {one.name: one.container.id for one in found.roles if one.container} == {
        role.name: f"id-{role.name}" for role in plan.roles
    }
    assert load(context.state_dir) == found


@pytest.mark.parametrize("json", [True, False])
def test_what_is_found_is_said_where_no_program_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], json: bool
) -> None:
    monkeypatch.setenv(wiring.STATE_VARIABLE, str(tmp_path / "state"))
    monkeypatch.setattr(lifecycle, "find", containers(planned()).__getitem__)
    operations.located(EXAMPLE, aside=json)
    said = capsys.readouterr()
    assert ("found case1" in said.out, "found case1" in said.err) == (not json, json)


def test_nothing_on_the_hosts_is_nothing(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "find", lambda _: {})
    assert recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context) is None
    assert load(context.state_dir) is None


def test_topologies_of_several_are_not_mixed(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = containers(planned()), containers(planned(), "d4e5f6")
    first = next(iter(one))
    one[first] |= other[first]
    monkeypatch.setattr(lifecycle, "find", one.__getitem__)
    with pytest.raises(BadInput, match=r"2 topologies run on these hosts, started from .*/home/me/kit"):
        recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context)


def test_a_topology_of_another_version_is_left_alone(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = containers(planned())
    for labels in (labels for one in found.values() for labels in one.values()):
        labels[lifecycle.PLAN] = "older"
    monkeypatch.setattr(lifecycle, "find", found.__getitem__)
    with pytest.raises(BadInput, match="another version of the kit"):
        recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context)


def test_a_host_that_does_not_answer_is_said_and_not_forgotten(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned()
    answers = containers(plan)
    monkeypatch.setattr(lifecycle, "find", answers.__getitem__)
    recover_it(load_hosts(ROOT / EXAMPLE, ROOT), EXAMPLE, context)

    def tunnel(url: str) -> str:
        raise MissingPrerequisite(f"{url} does not answer over ssh", "try ssh")

    monkeypatch.setattr(ssh_tunnel, "local", tunnel)
    report = down(replace(context, timeouts=replace(context.timeouts, stop=0.1)))
    assert {role.outcome for role in report.roles} == {"not reached"}
    assert not report.ok
    assert "`make down` again" in report.notes[0]
    assert load(context.state_dir) is not None
