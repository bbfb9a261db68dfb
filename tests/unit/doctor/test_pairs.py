"""Which hosts talk to each other, where several prefill hosts meet several decode hosts."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from doctor_hosts import CHECKS, ENV, ROOT, Healthy, plan_of, talker, targets_of
from doctor_texts import CPU, CUDA, GAUDI

from heteropd.config.machine import Machine
from heteropd.doctor import examination, targets
from heteropd.doctor.reach import Outside
from heteropd.plan.model import Plan
from heteropd.plan.pairs import rounds
from heteropd.system import Completed
from plan_words import make


def on_hosts(folder: Path, cuda: list[str], gaudi: list[str], **more: Any) -> Plan:
    """Case 1 with an engine on every host that is named."""
    names = dict.fromkeys([*cuda, *gaudi])
    hosts = {
        name: {"address": f"10.0.{at // 200}.{at % 200 + 1}", "ssh": name} for at, name in enumerate(names)
    }
    for name, fields in more.items():
        hosts[name] |= fields
    file = folder / "hosts.yaml"
    file.write_text(yaml.safe_dump({"hosts": hosts, "platforms": {"cuda": cuda, "gaudi": gaudi}}))
    return make(["case1", f"hosts={file}"], ROOT, Machine(cores=[0]))


@pytest.mark.parametrize(
    ("cuda", "gaudi"),
    [(["a"], ["x", "y"]), (["a", "b", "c"], ["x"]), (["a", "b"], ["x", "y"]), (["a", "b", "c"], ["b", "x"])],
)
def test_every_prefill_host_meets_every_decode_host(
    cuda: list[str], gaudi: list[str], tmp_path: Path
) -> None:
    wanted = sorted(pair for pair in product(cuda, gaudi) if pair[0] != pair[1])
    assert targets.pairs(on_hosts(tmp_path, cuda, gaudi)) == (wanted, len(wanted))


def test_a_host_with_two_engines_is_one_host(tmp_path: Path) -> None:
    plan = on_hosts(tmp_path, ["a", "a"], ["x"], a={"devices": [0, 1]})
    assert targets.pairs(plan) == ([("a", "x")], 1)
    [a, _] = [one for one in targets_of(plan) if one.name != "local"]
    assert [one.role.ports.side_channel for one in a.engines] == [5600, 5601]
    assert a.ports[8101] == "prefill-1 api"


@pytest.mark.parametrize(
    ("prefills", "decodes", "tried"), [(8, 8, 64), (9, 8, 64), (70, 3, 70), (20, 90, 90)]
)
def test_many_pairs_are_bounded_and_leave_no_host_out(
    prefills: int, decodes: int, tried: int, tmp_path: Path
) -> None:
    plan = on_hosts(tmp_path, [f"p{at}" for at in range(prefills)], [f"d{at}" for at in range(decodes)])
    pairs, known = targets.pairs(plan)
    assert (len(pairs), known) == (tried, prefills * decodes)
    assert len(set(pairs)) == tried
    assert {name for pair in pairs for name in pair} == {role.host.name for role in plan.engines}


def test_no_host_is_in_two_pairs_of_a_round() -> None:
    pairs = list(product("abcd", "wxyz"))
    found = rounds(pairs)
    assert sorted(pair for one in found for pair in one) == pairs
    for one in found:
        names = [name for pair in one for name in pair]
        assert len(names) == len(set(names))
    assert len(found) == 4


def examined(plan: Plan, outside: Outside) -> examination.DoctorReport:
    return examination.examine(targets_of(plan), CHECKS, plan, outside=outside)


def healthy(plan: Plan) -> dict[str, Healthy]:
    """A healthy host of its kind for every target of the plan."""
    kinds = {role.host.name: CUDA if role.runs_on == "cuda" else GAUDI for role in plan.engines}
    return {one.name: Healthy(kinds.get(one.name, CPU)) for one in targets_of(plan)}


def test_pairs_are_tried_side_by_side() -> None:
    """Two pairs without a common host: each program starts when the other pair's has."""
    plan = plan_of(f"case1 hosts={ROOT / 'env/hosts/example-2p2d.yaml'}")
    plan = plan.model_copy(update={"roles": [_moved(role) for role in plan.roles]})
    barrier, calm = threading.Barrier(2), talker()

    def together(one: Sequence[str], other: Sequence[str], seconds: float) -> tuple[Completed, Completed]:
        if "mib" in json.loads(one[-1]):  # the transfer, which every pair tries
            barrier.wait(20)  # raises where nobody else is at it
        return calm(one, other, seconds)

    readers = healthy(plan)
    report = examined(plan, Outside(lambda one: readers[one.name], together))
    places = {result.place for result in report.findings}
    assert {f"{a} and {b}" for a, b in product(["cuda-node", "cuda-2"], ["gaudi-1", "gaudi-2"])} <= places
    assert report.left_out == ""
    assert "left_out" not in json.loads(report.to_json())


def _moved(role: Any) -> Any:
    """The second prefill on a host of its own."""
    if role.name != "prefill-1":
        return role
    return role.model_copy(update={"host": role.host.model_copy(update={"name": "cuda-2", "ssh": "cuda-2"})})


def test_what_was_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = on_hosts(tmp_path, ["a", "b", "c"], ["x", "y", "z"])
    few = targets.pairs(plan, most=2)
    monkeypatch.setattr(targets, "pairs", lambda _: few)
    readers = healthy(plan)
    report = examined(plan, Outside(lambda one: readers[one.name], talker()))
    assert report.left_out.startswith("3 of 9 pairs of hosts were tried")
    assert json.loads(report.to_json())["left_out"] == report.left_out


@pytest.mark.parametrize("runtime", ["process", "docker"])
def test_an_engine_has_the_devices_of_the_hosts_file(runtime: str, tmp_path: Path) -> None:
    fields = {"a": {"devices": [4]}, "x": {"devices": [6]}}
    plan = on_hosts(tmp_path, ["a"], ["x"], **fields)
    if runtime == "process":
        roles = [role.model_copy(update={"container": None}) for role in plan.roles]
        plan = plan.model_copy(update={"roles": roles})
    found = {host.name: [engine.devices for engine in host.engines] for host in targets_of(plan)}
    assert found == {"a": [("4",)], "x": [("6",)], "local": []}


def test_without_names_an_engine_may_have_all_devices(tmp_path: Path) -> None:
    found = targets_of(on_hosts(tmp_path, ["a"], ["x"]))
    assert [engine.devices for host in found for engine in host.engines] == [None, None]


def test_requirements_are_those_of_the_pin_set(tmp_path: Path) -> None:
    [host, *_] = targets_of(on_hosts(tmp_path, ["a"], ["x"]))
    assert host.needs.docker == ENV.images.engine.docker
    assert host.needs.software.keys() == {"cuda", "gaudi"}
    assert host.needs.software["cuda"] in ENV.pins["doc-2025-12"].images["cuda"].ref


def test_a_host_with_a_folder_of_its_own_must_have_it(tmp_path: Path) -> None:
    plan = on_hosts(tmp_path, ["a", "b"], ["x"], b={"model": "/models/mine"})
    assert {one.name: one.model for one in targets_of(plan)} == {
        "a": "", "b": "/models/mine", "x": "", "local": "",
    }  # fmt: skip
