"""One engine, one base, one registry and one build for all tests that need them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import DockerException

from heteropd.config import env
from lab import base, daemon
from lab.kit import ROOT, heteropd
from lab.registry import registry as _registry

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heteropd" / "lab"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The engine that answers, or one of our own; DOCKER_HOST names it for everything that is started."""
    found = daemon.answering()
    before = os.environ.get("DOCKER_HOST")
    if found is not None:
        os.environ["DOCKER_HOST"] = found
        yield found
    else:
        daemon.install()
        with daemon.daemon(tmp_path_factory.mktemp("engine")) as url:
            os.environ["DOCKER_HOST"] = url
            yield url
    if before is None:
        os.environ.pop("DOCKER_HOST", None)
    else:
        os.environ["DOCKER_HOST"] = before


@pytest.fixture(scope="session")
def second_engine(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine beside the first, with images of its own."""
    del engine
    daemon.install()
    with daemon.daemon(tmp_path_factory.mktemp("second"), second=True) as url:
        yield url


@pytest.fixture(scope="session")
def bases(engine: str) -> tuple[str, str]:
    """(build, ship): base images. HETEROPD_TEST_BASE names one; else the pin set's, where it can be pulled;
    else Debian 12 is put together here."""
    given = os.environ.get("HETEROPD_TEST_BASE")
    if given:
        return given, given
    client = docker.DockerClient(base_url=engine, timeout=600)
    pinned = env.load(ROOT).standin.images["cpu"].pinned
    try:
        client.images.pull(pinned)
        client.close()
        return pinned, pinned
    except DockerException:
        pass
    with base.archive(CACHE).open("rb") as stream:
        client.images.load(stream)
    client.close()
    return base.TAG, base.TAG


@pytest.fixture(scope="session")
def images(engine: str, bases: tuple[str, str]) -> dict[str, str]:
    """The CPU and router images, built side by side as a user does; name -> reference."""
    del engine
    heteropd("build", "cpu", "router", f"base={bases[0]}", timeout_s=1800)
    return {"cpu": "heteropd/cpu:standin-base", "router": "heteropd/router:standin-base"}


@pytest.fixture(scope="session")
def cpu_image(images: dict[str, str]) -> str:
    return images["cpu"]


@pytest.fixture(scope="session")
def registry(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a running registry on loopback."""
    del engine
    with _registry(tmp_path_factory.mktemp("registry")) as address:
        yield address
