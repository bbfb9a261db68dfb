"""The doctor, as a user runs it, over the guests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from guests import kit
from guests.lab import Lab

PAIR = "prefill and decode"


@dataclass(frozen=True)
class Finding:
    """What one check said at one place."""

    status: str
    text: str
    fix: str | None


Findings = dict[tuple[str, str], Finding]


def examine(lab: Lab, hosts: Path) -> Findings:
    """`doctor case1 hosts=… ssh_config=… --json`: by check and place. The exit status must say the same."""
    done = kit.run("doctor", lab, hosts, "--json")
    said = json.loads(done.stdout)
    found = {
        (one["check"], one["place"]): Finding(one["status"], one["text"], one["fix"])
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
