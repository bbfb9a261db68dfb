"""What a topology's record says to those who load little: its state as plain data, and the mark of an ending.

The full state is `heteropd.topology.state`'s; the watchdog, a sweep and a benchmark need a few fields of it.
"""

import json
from contextlib import suppress
from pathlib import Path

from heteropd.errors import BadInput, KitError

STATE_FILE = "state.json"
NEW_STATE_FILE = "state.json.new"
ENDING_FILE = "ending"


def recorded(state_dir: Path) -> dict[str, object]:
    """The state file as plain data, unchecked; empty when there is none or it cannot be read."""
    try:
        data = json.loads((state_dir / STATE_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def mark_ending(state_dir: Path, topology_id: str) -> None:
    """Note that this topology is being ended. Never fails: what has to end must end on a full disk too."""
    with suppress(OSError):
        (state_dir / ENDING_FILE).write_text(topology_id)


def ending_of(state_dir: Path) -> str | None:
    """The topology that an interrupted command was about to end, if it did not get to the end of that."""
    try:
        return (state_dir / ENDING_FILE).read_text().strip()
    except (OSError, ValueError):
        return None


def forget(state_dir: Path, topology_id: str | None) -> None:
    """Remove the state file, unless it has come to describe another topology.

    Raises BadInput for a folder in its place that is not empty, KitError for a file that has to stay.
    """
    if topology_id is None or recorded(state_dir).get("id") in (topology_id, None):
        _remove(state_dir / STATE_FILE)
        _remove(state_dir / NEW_STATE_FILE)  # of a writer that was interrupted
    if topology_id is None or ending_of(state_dir) == topology_id:
        _remove(state_dir / ENDING_FILE)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:  # nor is there anything in a folder that is a file
        return
    except IsADirectoryError:  # Docker makes one where a file was to be mounted
        try:
            path.rmdir()
        except OSError:
            raise BadInput(str(path), None, None, "is a folder and not empty", "remove it") from None
    except OSError as problem:
        raise KitError(f"{path} cannot be removed ({problem.strerror})") from None
