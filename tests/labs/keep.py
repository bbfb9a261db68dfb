"""`--keep`: a lab that stays when its tests are done."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

import pytest


def until_interrupted(request: pytest.FixtureRequest, told: Sequence[str]) -> None:
    """With ``--keep``, say how to use the lab, and return at Ctrl-C or SIGTERM; else return at once."""
    if not request.config.getoption("--keep"):
        return
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        for line in ("", *told, "Ctrl-C ends the lab"):
            terminal.write_line(line)
        signal.setitimer(signal.ITIMER_REAL, 0)  # the last test's time limit is not this one's
        for one in (signal.SIGINT, signal.SIGTERM):  # in a shell's background, SIGINT is ignored
            signal.signal(one, signal.default_int_handler)
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            return
