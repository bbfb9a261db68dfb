"""Two guests for all tests of the lab, and what the doctor says of them in health."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from guests import doctor, image, lab
from guests.doctor import Findings
from guests.lab import Lab

from heteropd.errors import MissingPrerequisite
from labs import apt, keep

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heteropd" / "lab"
_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "ssh": "openssh-client",
    "mke2fs": "e2fsprogs",
    "setpriv": "util-linux",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the image, and an emulated CPU is slow."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1500))


@pytest.fixture(scope="session")
def booted(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The guests, running."""
    try:
        apt.need(_PROGRAMS)
        disk = image.cached(CACHE)
    except MissingPrerequisite as missing:
        pytest.exit(f"the fabric lab cannot run here: {missing}", returncode=2)
    # A Unix socket's path, such as ssh's control socket, ends at 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="hpd-lab-"))
    try:
        with lab.running(disk, folder) as found:
            yield found
            logins = [f"ssh -F {found.ssh_config} -l root {guest.name}" for guest in found.guests]
            keep.until_interrupted(request, [*logins, f"hosts file: {found.hosts()}"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def first(booted: Lab) -> tuple[Findings, dict[str, int]]:
    """The doctor before anything is broken: what it found, and what each guest's device sent meanwhile."""
    before = booted.packets_sent()
    found = doctor.examine(booted, booted.hosts())
    after = booted.packets_sent()
    return found, {name: after[name] - before[name] for name in before}


@pytest.fixture(scope="session")
def health(first: tuple[Findings, dict[str, int]]) -> Findings:
    """What the doctor says before anything is broken."""
    return first[0]
