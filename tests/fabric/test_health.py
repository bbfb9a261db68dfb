"""Two healthy guests: the doctor passes them, and KV bytes go over a real verbs device."""

from __future__ import annotations

from pathlib import Path

import pytest
from guests import doctor, kit
from guests.doctor import PAIR, Findings
from guests.lab import DEVICE, Lab

from heteropd.config.env import load_hosts

_TRANSFER = 2**20  # what the doctor sends each way where speed means nothing
_MTU = 4096  # of RDMA, below the cable's 9000
# What the doctor does not look at on a guest, and why.
_SKIPPED = {
    **dict.fromkeys(("T2-13-gpudirect", "T2-14-accel-devices", "T2-53-disk"), "runs on cpu"),
    **dict.fromkeys(("T2-35-accelerator-free", "T2-51-accelerator-answers"), "runs on cpu"),
    **dict.fromkeys(("T2-61-planned-devices", "T2-63-container-runtime", "T2-64-driver"), "runs on cpu"),
    "T2-55-model": "the model is not a folder of this host",
    "T2-62-docker": "no container is planned here",
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
    # Stand-ins' speed, TCP where RDMA is used, and a model that is not a folder of the guests.
    for check in ("T3-40-bandwidth", "T3-59-tcp-patience", "T3-60-same-model"):
        assert of_pair.pop(check) == "SKIP", doctor.shown(health)
    assert set(of_pair.values()) == {"PASS"}, doctor.shown(health)


def test_bytes_arrive_unchanged_over_rc(first: tuple[Findings, dict[str, int]]) -> None:
    """Three witnesses: the program compared every byte, UCX named the transport, the device counted."""
    found, packets = first
    assert "all bytes equal" in found["T3-05-nixl-transfer", PAIR].text
    assert found["T3-08-rdma-in-use", PAIR].text == f"rc_verbs/{DEVICE}:1"
    # Each side sends what it writes, and what the other reads from it.
    assert min(packets.values()) >= 2 * _TRANSFER // _MTU, packets


def test_a_hosts_file_is_written_with_the_device_and_its_address(booted: Lab, tmp_path: Path) -> None:
    """`hosts init`: the fabric's address is that of the network below the RDMA device, not the one of ssh."""
    file = tmp_path / "mine.yaml"
    done = kit.command(booted, "hosts", "init", f"to={file}", "standin=1", "prefill", "decode")
    assert done.returncode == 0, done.stdout + done.stderr
    found = load_hosts(file, tmp_path)
    fabric = {name: host.address for name, host in found.hosts.items()}
    assert fabric == {"prefill": "10.78.0.1", "decode": "10.78.0.2"}
    assert f"{DEVICE}:1" in file.read_text(), "named in a comment: a stand-in is not told to use it"
