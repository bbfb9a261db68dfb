"""Options of the end-to-end tests."""

from __future__ import annotations

import e2e_kit
import pytest

from heteropd.errors import MissingPrerequisite
from labs import apt

collect_ignore = ["in_engine"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-faults", action="store_true", help="plant faults in case 2 as well as in case 1")
    parser.addoption("--clean-requests", type=int, default=24, help="requests that no digest may refuse")
    parser.addoption("--plan-with", metavar="NAME=VALUE", action="append", default=[], help="for every plan")
    parser.addoption("--clean-runs", type=int, default=1, help="validations of a sound topology, all to pass")


def pytest_configure(config: pytest.Config) -> None:
    """With a GPU: ``--plan-with standin=gaudi`` puts a real CUDA engine into every pair."""
    e2e_kit.PLAN_WORDS.extend(config.getoption("--plan-with"))


@pytest.fixture(scope="session")
def clean_runs(pytestconfig: pytest.Config) -> int:
    count: int = pytestconfig.getoption("--clean-runs")
    return count


@pytest.fixture(scope="session")
def clean_requests(pytestconfig: pytest.Config) -> int:
    count: int = pytestconfig.getoption("--clean-requests")
    return count


@pytest.fixture(scope="session")
def prometheus() -> None:
    """Prometheus and promtool of the distribution."""
    try:
        apt.need({"prometheus": "prometheus", "promtool": "prometheus"})
    except MissingPrerequisite as missing:
        pytest.skip(str(missing))
