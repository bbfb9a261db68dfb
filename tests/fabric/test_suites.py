"""The testinfra suites of `make infra` over the guests, by ssh: green in health, red where a fault is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from guests import kit
from guests.faults import FAULTS
from guests.lab import Lab

Results = dict[str, tuple[str, str]]


def outcomes(lab: Lab, folder: Path, code: int) -> Results:
    """Outcome and reason by test; the verb must exit with ``code``."""
    file = folder / "facts.json"
    done = kit.run("infra", lab, lab.hosts(), "--strict", f"json={file}")
    assert done.returncode == code, done.stdout[-4000:] + done.stderr[-2000:]
    return {one["nodeid"]: (one["outcome"], one["reason"]) for one in json.loads(file.read_text())["results"]}


@pytest.mark.usefixtures("health")
def test_suites_are_red_where_the_fault_is(booted: Lab, tmp_path: Path) -> None:
    fault = FAULTS["link down"]
    try:
        fault.planted(booted)
        found = outcomes(booted, tmp_path, code=1)
    finally:
        fault.undone(booted)
    failed = {name for name, (outcome, _) in found.items() if outcome == "failed"}
    assert failed
    assert all("/fabric/" in name and f"ssh://{fault.where}" in name for name in failed), sorted(failed)


@pytest.mark.usefixtures("health")
def test_suites_are_green_once_all_is_undone(booted: Lab, tmp_path: Path) -> None:
    found = outcomes(booted, tmp_path, code=0)
    passed = {name for name, (outcome, _) in found.items() if outcome == "passed"}
    for suite, least in (("hosts", 4), ("fabric", 9)):
        for guest in booted.guests:
            of_guest = [one for one in passed if f"/{suite}/" in one and f"ssh://{guest.name}" in one]
            assert len(of_guest) >= least, sorted(found)
    skipped = {reason for outcome, reason in found.values() if outcome == "skipped"}
    assert all("not needed" in reason for reason in skipped), skipped
