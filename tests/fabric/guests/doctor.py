"""The doctor, as a user runs it, over the guests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from guests.lab import Lab

ROOT = Path(__file__).parents[3]
PAIR = "prefill and decode"
_LIMIT_S = 420.0


@dataclass(frozen=True)
class Finding:
    """What one check said at one place."""

    status: str
    text: str
    mend: str | None


Findings = dict[tuple[str, str], Finding]


def examine(lab: Lab, hosts: Path) -> Findings:
    """`doctor case1 hosts=… ssh_config=… --json`: by check and place. The exit status must say the same."""
    words = ["doctor", "case1", f"hosts={hosts}", f"ssh_config={lab.ssh_config}", "--json"]
    # A topology that runs in this checkout is none of the lab's.
    ours = {"PYTHONPATH": str(ROOT / "scripts"), "HETEROPD_STATE_DIR": str(lab.folder / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "heteropd", *words],
        cwd=ROOT,
        env={**os.environ, **ours},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert done.returncode in (0, 1), f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    said = json.loads(done.stdout)
    found = {
        (one["check"], one["place"]): Finding(one["status"], one["text"], one["mend"])
        for one in said["results"]
    }
    assert said["ok"] == (done.returncode == 0) == (not failed(found))
    return found


def failed(found: Findings) -> set[tuple[str, str]]:
    """Where what failed."""
    return {key for key, one in found.items() if one.status == "FAIL"}


def shown(found: Findings) -> str:
    """Everything that did not pass, for a test's message."""
    return "\n".join(
        f"{one.status} {check} {place}: {one.text}"
        for (check, place), one in found.items()
        if one.status != "PASS"
    )
