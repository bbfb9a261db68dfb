"""Packages of this machine's distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from heteropd.errors import MissingPrerequisite


def mirror() -> str | None:
    """Where this machine's apt has Debian itself from; None on another distribution. Needs root."""
    must(["apt-get", "update", "-qq"])
    ask = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    found = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
    return next((one for one in found if "security" not in one), None)


def packages(*names: str) -> None:
    """Install packages of the distribution. Needs root."""
    must(["apt-get", "update", "-qq"])
    must(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names])


def need(programs: Mapping[str, str]) -> None:
    """Install the packages of programs that are not there: program -> package. Raises MissingPrerequisite."""
    absent = {name: package for name, package in programs.items() if shutil.which(name) is None}
    if not absent:
        return
    names = " ".join(sorted(set(absent.values())))
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        fix = f"`apt-get install {names}`, or run this as root on Debian or Ubuntu"
        raise MissingPrerequisite(f"{', '.join(absent)}: not installed", fix)
    packages(*names.split())


def must(argv: list[str]) -> None:
    """Run a command that must succeed, and never asks."""
    # Runlevel 1: a package's daemon is not started where no init is there to say otherwise.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    done = subprocess.run(argv, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
