"""Each planted fault turns exactly the right check to FAIL (or WARN), with its fix, and no other.

That a fault was undone shows the next one, which fails alone, and at last test_suites.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from guests import doctor
from guests.doctor import Findings
from guests.faults import FAULTS, Fault
from guests.lab import Lab


@pytest.fixture(params=FAULTS.values(), ids=FAULTS.keys())
def fault(request: pytest.FixtureRequest, booted: Lab, health: Findings) -> Iterator[Fault]:
    """Planted in guests that were healthy, and undone whatever happens."""
    del health
    one: Fault = request.param
    try:
        one.planted(booted)
        yield one
    finally:
        one.undone(booted)


def test_fault_is_found_by_its_check_alone(fault: Fault, booted: Lab, health: Findings) -> None:
    found = doctor.examine(booted, booted.hosts("faulty", **fault.says))
    seen = found[fault.check, fault.place]
    assert seen.status == fault.outcome, doctor.shown(found)
    assert doctor.failed(found) <= {(fault.check, fault.place)}, doctor.shown(found)
    assert fault.evidence in seen.text
    assert fault.fix in (seen.fix or "")
    # What could not be tried any more may be skipped, and nothing else may differ.
    changed = {key: one.status for key, one in found.items() if one.status != health[key].status}
    del changed[fault.check, fault.place]
    if fault.warned:
        assert changed.pop((fault.warned, fault.place)) == "WARN", doctor.shown(found)
    assert set(changed.values()) <= {"SKIP"}, doctor.shown(found)
