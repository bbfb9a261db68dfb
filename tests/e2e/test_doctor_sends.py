"""What the doctor sends between hosts, with the engines' real NIXL and UCX: two addresses of this machine."""

from __future__ import annotations

import pytest
from e2e_kit import ROOT, free_ports

from heteropd.app import wiring
from heteropd.doctor import exchange, judge, programs
from heteropd.doctor.examination import read_host
from heteropd.doctor.model import EngineTarget, ExaminedHost, ExaminedPair, HostTarget
from heteropd.doctor.nixl import lanes
from heteropd.doctor.reach import Outside
from heteropd.findings import Finding
from heteropd.plan.model import HostPlan, Ports, RolePlan
from heteropd.plan.rules.addresses import SIDE_CHANNEL_HOST

CHECKS = judge.load(ROOT)


@pytest.fixture(scope="module")
def hosts() -> tuple[ExaminedHost, ExaminedHost]:
    wiring.prepare(ROOT)
    python = str(wiring.context(ROOT).engine_python)
    [port] = free_ports(1)
    found = []
    for name, address in (("prefill-0", "127.0.0.1"), ("decode-0", "127.0.0.2")):
        role = RolePlan(
            name=name,
            role="prefill" if name == "prefill-0" else "decode",
            platform="cuda",
            runs_on="cpu",
            host=HostPlan(name=address, address=address),
            env={"UCX_TLS": "tcp,self", SIDE_CHANNEL_HOST: address},
            argv=[],
            ports=Ports(api=1, side_channel=port),
        )
        target = HostTarget(address, engines=(EngineTarget(role, python=python),))
        found.append(read_host(target, Outside().reach(target), CHECKS.limits))
    return found[0], found[1]


def sent(hosts: tuple[ExaminedHost, ExaminedHost]) -> tuple[ExaminedPair, dict[str, Finding]]:
    pair = exchange.examine_pair(*hosts, Outside())
    return pair, {finding.id: finding for finding in judge.judge_pair(pair, CHECKS)}


def test_each_host_knows_what_its_nixl_is_made_of(hosts: tuple[ExaminedHost, ExaminedHost]) -> None:
    for node in hosts:
        said = {finding.id: finding for finding in judge.judge_host(node, CHECKS)}
        for check in ("T2-04-one-ucx", "T2-05-nixl-ucx", "T2-07-transports", "T2-15-card-untouched"):
            assert said[check].status == "PASS", said[check].text
        assert any(name.startswith("tcp/") for name in node.nixl[0].resources)


def test_bytes_move_both_ways_and_ucx_says_how(hosts: tuple[ExaminedHost, ExaminedHost]) -> None:
    pair, said = sent(hosts)
    for check in ("T3-03-same-nixl", "T3-05-nixl-transfer", "T3-16-side-channel", "T3-58-clock-skew"):
        assert said[check].status == "PASS", said[check].text
    assert not isinstance(pair.transfer, str)
    for report in pair.transfer:
        assert {lane.partition("/")[0] for lane in lanes(report.log)} == {"tcp"}
        assert report.result is not None
        assert min(report.result["mb_s"].values()) > 0


def test_wrong_bytes_are_noticed(
    hosts: tuple[ExaminedHost, ExaminedHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = {name: programs.text(name) for name in ("nixl_transfer", "side_channel")}
    planted = sound["nixl_transfer"].replace('("WRITE", side.has,', '("WRITE", side.read,')
    assert planted != sound["nixl_transfer"]
    monkeypatch.setattr(programs, "text", (sound | {"nixl_transfer": planted}).__getitem__)
    failed = sent(hosts)[1]["T3-05-nixl-transfer"]
    assert failed.status == "FAIL"
    assert "bytes differ after WRITE" in failed.text
