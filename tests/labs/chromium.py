"""Opens a page in Chromium: a picture of it, what its console said, and what it asked the network for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from heteropd.errors import MissingPrerequisite
from labs import apt

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars "
    "--enable-logging=stderr --log-level=0"
)
_NO_NAMES = "--host-resolver-rules=MAP * ~NOTFOUND"  # what Chromium asks Google at every start stays here
_LEAST_BYTES = 40_000
_CONSOLE = re.compile(r":CONSOLE[:(]\d+\)?\] (.*)")


@dataclass(frozen=True)
class Opened:
    """A page as a browser had it. ``requests``: URLs beside the page itself."""

    picture: Path
    console: list[str]
    requests: list[str]

    @property
    def blank(self) -> bool:
        """A picture of one colour is packed into next to nothing."""
        return self.picture.stat().st_size < _LEAST_BYTES


def find(folder: Path) -> str:
    """Chromium's path. Where it is missing, CI (``CI`` is set) installs it; elsewhere the test is skipped.

    ``folder``: for a lock, shared by the workers of a test run. Raises MissingPrerequisite in CI.
    """
    with FileLock(folder / "chromium.lock"):
        program = shutil.which("chromium")
        if program is None and os.environ.get("CI"):
            apt.need({"chromium": "chromium"})
            program = shutil.which("chromium")
    if program is None:
        reason = str(MissingPrerequisite("chromium is not installed", "`apt-get install chromium`"))
        pytest.skip(reason)
    return program


def open_page(program: str, page: Path, folder: Path, height: int = 2600) -> Opened:
    """Open ``page`` with a new profile; everything that comes of it is written into ``folder``."""
    picture, log = folder / f"{page.stem}.png", folder / f"{page.stem}.netlog.json"
    argv = [program, *_FLAGS.split(), _NO_NAMES, f"--user-data-dir={folder / 'profile'}"]
    argv += [f"--log-net-log={log}", f"--window-size=1240,{height}", f"--screenshot={picture}"]
    done = subprocess.run(
        [*argv, page.as_uri()], capture_output=True, text=True, errors="replace", timeout=180, check=False
    )
    assert picture.is_file(), f"{done.returncode}: {done.stderr[-3000:]}"
    return Opened(picture, _CONSOLE.findall(done.stderr), _requests(log))


def _requests(log: Path) -> list[str]:
    """What the page asked for; what Chromium asks for itself has no origin."""
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    asked = {event["url"] for event in events if event.get("initiator", "not an origin") != "not an origin"}
    return sorted(url for url in asked if not url.startswith(("file:", "data:")))
