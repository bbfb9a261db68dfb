"""Options of the end-to-end tests."""

from __future__ import annotations

import pytest

collect_ignore = ["in_engine"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-faults", action="store_true", help="plant faults in case 2 as well as in case 1")
    parser.addoption("--clean-requests", type=int, default=24, help="requests that no digest may refuse")
    parser.addoption("--clean-runs", type=int, default=1, help="validations of a sound topology, all to pass")


@pytest.fixture(scope="session")
def clean_runs(pytestconfig: pytest.Config) -> int:
    count: int = pytestconfig.getoption("--clean-runs")
    return count


@pytest.fixture(scope="session")
def clean_requests(pytestconfig: pytest.Config) -> int:
    count: int = pytestconfig.getoption("--clean-requests")
    return count
