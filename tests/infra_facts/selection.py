"""A plugin of pytest: each host gets the suites that are for it, and the roles of the plan that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import testinfra

from heteropd.infra.subjects import Subject, Subjects

_TESTED = pytest.StashKey[Subjects]()
_HOSTS = pytest.StashKey[dict[str, Any]]()
_HOST = "_testinfra_host"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file of what is tested."""
    parser.addoption("--subjects", metavar="FILE", help="what is tested on hosts, as `make infra` writes it")


def pytest_configure(config: pytest.Config) -> None:
    """Read that file."""
    config.stash[_TESTED] = Subjects.model_validate_json(Path(config.getoption("--subjects")).read_text())


def tested(config: pytest.Config) -> Subjects:
    """The plan, and all that is tested."""
    return config.stash[_TESTED]


def hosts(config: pytest.Config) -> dict[str, Any]:
    """testinfra's hosts, by the name that tests show."""
    return config.stash[_HOSTS]


def subject_of(host: Any, config: pytest.Config) -> Subject:
    """What a host of testinfra's is in the plan."""
    return next(
        subject
        for subject in tested(config).subjects
        if _name(subject.connection) == host.backend.get_pytest_id()
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of a role one for each role of the plan; what is not on its host is left out below."""
    if "role" in metafunc.fixturenames:
        roles = tested(metafunc.config).plan.roles
        metafunc.parametrize("role", roles, ids=[role.name for role in roles])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not for a host."""
    fitting = [item for item in items if isinstance(item, pytest.Function) and _fits(item, config)]
    every: list[Any] = [item.callspec.params[_HOST] for item in fitting]
    config.stash[_HOSTS] = {host.backend.get_pytest_id(): host for host in every}
    config.hook.pytest_deselected(items=[item for item in items if item not in fitting])
    items[:] = fitting


def _fits(item: pytest.Function, config: pytest.Config) -> bool:
    subject = subject_of(item.callspec.params[_HOST], config)
    role: Any = item.callspec.params.get("role")
    suites = subject.suites(tested(config).plan)
    if not any(item.path.parent.as_posix().endswith(f"/infra/{suite}") for suite in suites):
        return False
    if role is None:
        return True
    return role.name in subject.roles and ("engine" not in item.fixturenames or role.role != "router")


def _name(connection: str) -> str:
    return str(testinfra.get_host(connection).backend.get_pytest_id())
