"""Every check says PASS, FAIL or WARN when its fault is planted, and SKIP when it cannot or need not look."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from doctor_cases import CASES as FACT_CASES
from doctor_cases import HEALTHY, LOW, SHELL, Case
from doctor_exchange_cases import NODE_CASES, PAIR_CASES
from doctor_hosts import CHECKS, HOSTS, ROOT, TARGETS, Canned, Healthy, node, plan_of, talker, targets_of
from doctor_planned_cases import CONTAINER_CASES, DEVICE_CASES
from doctor_texts import CPU, CUDA, DOCKER, GAUDI

from heteropd.doctor import examination, judge, pages, probe, targets
from heteropd.doctor.model import HostTarget
from heteropd.doctor.reach import Outside, Reach
from heteropd.errors import BadInput
from heteropd.findings import Finding
from heteropd.system import Completed

CASES = [*FACT_CASES, *DEVICE_CASES, *CONTAINER_CASES, *NODE_CASES, *PAIR_CASES]


def named(case: Case) -> str:
    return f"{case[0]}-{case[2]}"


@pytest.mark.parametrize(("check", "look", "expected"), CASES, ids=map(named, CASES))
def test_a_check_says(check: str, look: Callable[[], list[Finding]], expected: str) -> None:
    found = {result.id: result for result in look()}[check]
    assert found.status == expected, found.text
    assert found.text
    assert (found.fix is not None) == (expected in ("FAIL", "WARN"))


def test_every_check_is_seen_from_all_sides() -> None:
    seen: dict[str, set[str]] = {}
    for check, _, expected in CASES:
        seen.setdefault(check, set()).add("bad" if expected in ("FAIL", "WARN") else expected)
    # A host always answers or not, and a role runs or not: there is nothing to skip.
    lacking = {"T2-50-host-answers": {"PASS"}, "T4-34-roles": {"PASS", "bad"}}
    assert seen == {name: lacking.get(name, {"PASS", "bad", "SKIP"}) for name in CHECKS.checks}


def test_code_and_data_name_the_same_checks() -> None:
    assert {*judge.HOST_CHECKS, *judge.PAIR_CHECKS, *judge.TOPOLOGY_CHECKS} == set(CHECKS.checks)


@pytest.mark.parametrize("look", HEALTHY)
def test_healthy_hosts_and_topologies_have_nothing_wrong(look: Callable[[], list[Finding]]) -> None:
    assert not [result for result in look() if result.status in ("FAIL", "WARN")]


# Faults that have one consequence; a port that is down, say, has more than one.
ALONE = [case for case in CASES if case[2] in ("FAIL", "WARN") and case[0][:2] in ("T2", "T3")]


@pytest.mark.parametrize(("check", "look", "expected"), ALONE, ids=map(named, ALONE))
def test_a_fault_turns_its_own_check_only(
    check: str, look: Callable[[], list[Finding]], expected: str
) -> None:
    assert [(one.id, one.status) for one in look() if one.fix] == [(check, expected)]


def test_a_host_that_does_not_answer_fails_once_and_passes_nothing() -> None:
    silent = Canned("", 255, "ssh: connect to host 192.0.2.10 port 22: Connection timed out")
    report = examination.examine([TARGETS["cuda"]], CHECKS, outside=Outside(lambda _: silent))
    said = {result.id: result.status for result in report.findings}
    assert said.pop("T2-50-host-answers") == "FAIL"
    assert set(said.values()) == {"SKIP"}
    assert not report.ok
    assert "timed out" in report.to_json()


def test_what_fixes_a_container_is_not_ssh() -> None:
    silent = Canned("", 1, "Error response from daemon: No such container: nosuch")
    target = targets.container("nosuch")
    report = examination.examine([target], CHECKS, outside=Outside(lambda _: silent))
    failed = next(finding for finding in report.findings if finding.status == "FAIL")
    assert "No such container: nosuch" in failed.text
    assert "docker exec" in str(failed.fix)
    assert "ssh" not in str(failed.fix)


def test_a_probe_that_ends_early_is_not_believed() -> None:
    assert (
        probe.read_facts(Canned(CUDA.removesuffix("end\n"))).trouble
        == "the probe ended early (exit status 0)"
    )


def test_output_that_makes_no_sense_is_trouble_and_no_traceback() -> None:
    found = probe.read_facts(Canned(CUDA.replace("0000:0000:0000:0000:0000:ffff:c000:020a", "zzzz")))
    assert "not understood" in (found.trouble or "")


def test_ucx_is_not_started_where_it_would_not_end() -> None:
    """Seen on rxe: with verbs and 64 KiB of locked memory UCX tries to allocate for ever."""
    reader = Healthy(CUDA.replace(SHELL, LOW))
    low = examination.read_host(TARGETS["cuda"], reader, CHECKS.limits)
    assert len(reader.asked) == 1, "only the probe"
    said = {result.id: result for result in judge.judge_host(low, CHECKS)}
    assert said["T2-05-nixl-ucx"].status == "SKIP"
    assert said["T2-05-nixl-ucx"].text == "not tried: shell: 64 KiB"
    assert [name for name, result in said.items() if result.status == "FAIL"] == ["T2-11-memlock"]


def test_what_a_standin_does_not_need_is_named_all_the_same() -> None:
    said = {result.id: result.text for result in judge.judge_host(node("cpu"), CHECKS)}
    assert said["T2-09-net-devices"].startswith("this host has no InfiniBand or RoCE device")
    assert said["T2-09-net-devices"].endswith(": a stand-in does not need it")
    assert said["T2-14-accel-devices"] == "runs on cpu: a stand-in does not need it"


def test_hosts_of_a_plan() -> None:
    found = targets_of(plan_of(f"case1 {HOSTS}"))
    assert [(one.name, one.ssh, one.platforms) for one in found] == [
        ("cuda-node", "root@192.0.2.10", {"cuda"}),
        ("gaudi-node", "root@192.0.2.20", {"gaudi"}),
        ("proxy-node", "root@192.0.2.30", {"router"}),
    ]
    assert found[0].announced == ("192.0.2.10",)
    assert found[1].ports == {8200: "decode-0 api", 5600: "decode-0 side_channel"}


def test_a_plan_on_hosts_is_examined_whole() -> None:
    plan = plan_of(f"case1 {HOSTS}")
    texts = {"root@192.0.2.10": CUDA, "root@192.0.2.20": GAUDI, "root@192.0.2.30": CPU}
    asked = {target.name: Healthy(texts[target.ssh or ""]) for target in targets_of(plan)}
    report = examination.examine(
        targets_of(plan),
        CHECKS,
        plan,
        outside=Outside(lambda one: asked[one.name], talker()),
    )
    assert report.ok
    assert [len(reader.asked) for reader in asked.values()] == [2, 2, 1]
    assert asked["cuda-node"].asked[1][:5] == ("docker", "run", "--rm", "-i", "--pull=never")
    assert "cuda-node and gaudi-node" in {result.place for result in report.findings}
    assert json.loads(report.to_json())["ok"] is True


def test_readers_wrap_what_they_run() -> None:
    inner = Canned("")
    for target, argv in (
        (HostTarget("node", ssh="root@node"), ["sh", "-c", "echo 'a b'", ""]),
        (targets.container("prefill-0"), ["sh", "-c", "true"]),
    ):
        replace(Reach()(target), local=inner).run(argv)
    assert inner.asked[0][:3] == ("ssh", "-o", "BatchMode=yes")
    assert inner.asked[0][-3:-1] == ("root@node", "--")
    assert inner.asked[0][-1] == """sh -c 'echo '"'"'a b'"'"'' ''"""
    assert inner.asked[1] == ("docker", "exec", "prefill-0", "sh", "-c", "true")


def test_the_page_is_current_and_names_every_check() -> None:
    page = (ROOT / pages.SECTION.page).read_text()
    assert pages.SECTION.filled(page, pages.render(CHECKS)) == page, "`make schema` writes it anew"
    assert all(f"**{name}**" in page for name in CHECKS.checks)


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(BadInput, match="markers"):
        pages.SECTION.filled("# Troubleshooting\n", "")


class Together(Canned):
    """A reader that answers when as many others are being asked as the barrier says."""

    def __init__(self, out: str, barrier: threading.Barrier) -> None:
        super().__init__(out)
        self.barrier = barrier

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        self.barrier.wait(20)  # raises where the others are not asked meanwhile
        return super().run(argv, timeout_s=timeout_s)


def test_thirty_two_hosts_are_asked_at_once() -> None:
    """One host after the other would take 32 times as long; here nobody is answered before all are asked."""
    barrier = threading.Barrier(32)
    fleet = [replace(TARGETS["router"], name=f"node-{number}") for number in range(32)]
    readers = {one.name: Together(CPU, barrier) for one in fleet}
    report = examination.examine(fleet, CHECKS, outside=Outside(lambda one: readers[one.name]))
    assert report.ok
    assert {len(one.asked) for one in readers.values()} == {1}
    assert len({one.place for one in report.findings}) == 32


def test_nixl_is_not_started_in_containers_where_docker_does_not_answer() -> None:
    target = targets_of(plan_of("case1 runtime=docker"))[0]
    reader = Healthy(CPU.replace(DOCKER, "docker\tdenied\n"))
    said = {
        finding.id: finding
        for finding in judge.judge_host(examination.read_host(target, reader, CHECKS.limits), CHECKS)
    }
    assert len(reader.asked) == 1, "only the probe"
    assert [name for name, finding in said.items() if finding.status == "FAIL"] == ["T2-62-docker"]
    assert said["T2-05-nixl-ucx"].text == "not tried: this user may not use Docker's socket"
