"""Two healthy guests: the doctor passes them, and KV bytes go over a real verbs device."""

from __future__ import annotations

import pytest
from guests import doctor
from guests.doctor import PAIR, Findings
from guests.lab import DEVICE

_TRANSFER = 2**20  # what the doctor sends each way where speed means nothing
_MTU = 4096  # of RDMA, below the cable's 9000
# What the doctor does not look at on a guest, and why.
_SKIPPED = {
    **dict.fromkeys(("T2-13-gpudirect", "T2-14-accel-devices", "T2-53-disk"), "runs on cpu"),
    **dict.fromkeys(("T2-35-accelerator-free", "T2-51-accelerator-answers"), "runs on cpu"),
    "T2-55-model": "the model is no folder of this host",
}


@pytest.mark.parametrize("place", ["prefill", "decode"])
def test_every_check_of_a_host_passes_or_says_why_not(health: Findings, place: str) -> None:
    not_passed = {key for key, one in health.items() if key[1] == place and one.status != "PASS"}
    assert {health[key].status for key in not_passed} <= {"SKIP"}, doctor.shown(health)
    assert {check for check, _ in not_passed} == set(_SKIPPED), doctor.shown(health)
    for check, reason in _SKIPPED.items():
        assert reason in health[check, place].text


def test_every_check_of_the_pair_passes(health: Findings) -> None:
    of_pair = {check: one.status for (check, place), one in health.items() if place == PAIR}
    assert of_pair.pop("T3-40-bandwidth") == "SKIP", doctor.shown(health)
    assert set(of_pair.values()) == {"PASS"}, doctor.shown(health)


def test_bytes_arrive_unchanged_over_rc(first: tuple[Findings, dict[str, int]]) -> None:
    """Three witnesses: the program compared every byte, UCX named the transport, the device counted."""
    found, packets = first
    assert "all bytes equal" in found["T3-05-nixl-transfer", PAIR].text
    assert found["T3-08-rdma-in-use", PAIR].text == f"rc_verbs/{DEVICE}:1"
    # Each side sends what it writes, and what the other reads from it.
    assert min(packets.values()) >= 2 * _TRANSFER // _MTU, packets
