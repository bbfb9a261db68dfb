"""Ending all of a topology at once and removing what it left. Safe to repeat, and to run twice at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from heteropd.containers import stopping
from heteropd.processes import shared_memory, terminate
from heteropd.processes.process_tree import marked
from heteropd.system import Clock

STATE_FILE = "state.json"
NEW_STATE_FILE = "state.json.new"
ENDING_FILE = "ending"


@dataclass(frozen=True)
class Leftovers:
    """What a topology owns beside its processes: folders for temporary files, shared memory segments, and
    containers of engines."""

    folders: tuple[Path, ...] = ()
    segments: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()


def sweep(state_dir: Path, topology_id: str | None, clock: Clock, leftovers: Leftovers) -> tuple[str, ...]:
    """Kill every process and remove every container of the topology (of any topology of ``state_dir`` for
    None), then clean up. Returns the engines that did not answer: what they have may run on."""
    before = shared_memory.segments(one.pid for one in marked(state_dir, topology_id))
    terminate.kill(lambda: marked(state_dir, topology_id), clock)
    swept = stopping.sweep(leftovers.engines, state_dir, topology_id)
    clean(leftovers, before)
    return swept.missed


def runs_on(missed: Iterable[str]) -> str:
    """What to say of engines that did not answer when everything was to be ended."""
    return f"no answer from {', '.join(missed)}: what was started there may run on until `make down`"


def clean(leftovers: Leftovers, segments: set[str] | None = None) -> list[str]:
    """Remove temporary folders and unused segments; returns the paths of the segments removed."""
    for folder in leftovers.folders:
        shutil.rmtree(folder, ignore_errors=True)
    return shared_memory.remove_unused({*leftovers.segments, *(segments or ())})


def forget(state_dir: Path, topology_id: str | None) -> None:
    """Remove the state file, unless it has come to describe another topology."""
    if topology_id is None or recorded(state_dir).get("id") in (topology_id, None):
        (state_dir / STATE_FILE).unlink(missing_ok=True)
        (state_dir / NEW_STATE_FILE).unlink(missing_ok=True)  # of a writer that was interrupted
    if topology_id is None or ending_of(state_dir) == topology_id:
        (state_dir / ENDING_FILE).unlink(missing_ok=True)


def recorded(state_dir: Path) -> dict[str, object]:
    """The state file as plain data, unchecked; empty when there is none or it cannot be read."""
    try:
        data = json.loads((state_dir / STATE_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def ending_of(state_dir: Path) -> str | None:
    """The topology that an interrupted command was about to end, if it did not get to the end of that."""
    try:
        return (state_dir / ENDING_FILE).read_text().strip()
    except OSError:
        return None
