"""Two healthy guests: the doctor passes them, and KV bytes go over a real verbs device."""

from __future__ import annotations

import pytest
from guests import doctor
from guests.doctor import PAIR, Findings
from guests.lab import DEVICE, Lab

_COUNTERS = f"/sys/class/infiniband/{DEVICE}/ports/1/hw_counters"
_TRANSFER = 2**20  # what the doctor sends each way where speed means nothing
_MTU = 4096  # of RDMA, below the cable's 9000
# What the doctor does not look at on a guest, and why.
_SKIPPED = {
    **dict.fromkeys(("T2-13-gpudirect", "T2-14-accel-devices", "T2-53-disk"), "runs on cpu"),
    **dict.fromkeys(("T2-35-accelerator-free", "T2-51-accelerator-answers"), "runs on cpu"),
    "T2-55-model": "the model is no folder of this host",
}


def sent(lab: Lab) -> dict[str, int]:
    """Packets that each guest's device has sent so far."""
    return {one.name: int(one.access.run(f"cat {_COUNTERS}/sent_pkts").stdout) for one in lab.guests}


@pytest.fixture(scope="module")
def before(booted: Lab) -> dict[str, int]:
    return sent(booted)


@pytest.fixture(scope="module")
def found(before: dict[str, int], health: Findings) -> Findings:
    """The doctor's findings, made after the counters were read."""
    del before
    return health


@pytest.mark.parametrize("place", ["prefill", "decode"])
def test_every_check_of_a_host_passes_or_says_why_not(found: Findings, place: str) -> None:
    not_passed = {key for key, one in found.items() if key[1] == place and one.status != "PASS"}
    assert {found[key].status for key in not_passed} <= {"SKIP"}, doctor.shown(found)
    assert {check for check, _ in not_passed} == set(_SKIPPED), doctor.shown(found)
    for check, reason in _SKIPPED.items():
        assert reason in found[check, place].text


def test_every_check_of_the_pair_passes(found: Findings) -> None:
    of_pair = {check: one.status for (check, place), one in found.items() if place == PAIR}
    assert of_pair.pop("T3-40-bandwidth") == "SKIP", doctor.shown(found)
    assert set(of_pair.values()) == {"PASS"}, doctor.shown(found)


def test_bytes_arrive_unchanged_over_rc(found: Findings, before: dict[str, int], booted: Lab) -> None:
    """Three witnesses: the program compared every byte, UCX named the transport, the device counted."""
    assert "all bytes equal" in found["T3-05-nixl-transfer", PAIR].text
    lanes = found["T3-08-rdma-in-use", PAIR].text
    assert f"rc_verbs/{DEVICE}:1" in lanes
    assert "tcp" not in lanes
    # Each side sends what it writes and what the other reads from it.
    least = 2 * _TRANSFER // _MTU
    after = sent(booted)
    assert all(after[name] - before[name] >= least for name in before), (before, after)
