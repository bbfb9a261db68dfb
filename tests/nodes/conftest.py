"""Three hosts, and the images that are sent to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.fixtures import bases, engine, images
from lab_nodes.lab import Lab, lab

from labs import keep
from labs.apt import need

__all__ = ["bases", "engine", "images"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gigabytes are sent, and engines started, on a machine that may be busy."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(2400))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``--times 5``: what holds once may have held by chance."""
    times: int = metafunc.config.getoption("--times")
    if times > 1:
        metafunc.fixturenames.append("nth")
        metafunc.parametrize("nth", range(1, times + 1))


@pytest.fixture(scope="session")
def nodes(
    request: pytest.FixtureRequest,
    engine: str,
    images: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    """The lab; the kit that is run meanwhile finds its ssh configuration."""
    del images
    need(
        {
            "/usr/sbin/sshd": "openssh-server",
            "nsenter": "util-linux",
            "ip": "iproute2",
            "iptables": "iptables",
        }
    )
    with pytest.MonkeyPatch.context() as patch, lab(tmp_path_factory.mktemp("nodes") / "lab") as made:
        patch.setenv("HETEROPD_SSH_CONFIG", str(made.ssh_config))
        yield made
        variables = f"HETEROPD_SSH_CONFIG={made.ssh_config} DOCKER_HOST={engine}"
        keep.until_interrupted(request, [f"{variables} make case1 hosts={made.hosts_file}"])
