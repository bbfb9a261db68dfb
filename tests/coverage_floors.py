"""What the unit tests run, of all and of each room; fails where a room with a floor is below it.

python tests/coverage_floors.py, after a run of pytest with --cov (pyproject.toml: tool.coverage).
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import coverage

PACKAGE = Path(__file__).parents[1] / "scripts" / "heteropd"
FLOORS = {"config": 95.0, "plan": 95.0, "proof": 95.0}


def main() -> int:
    """Print one line a room, and return 1 below a floor."""
    data = coverage.Coverage()
    data.load()
    rooms = sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists())
    found = {room: data.report(include=[f"{PACKAGE}/{room}/*"], file=io.StringIO()) for room in rooms}
    total = data.report(file=io.StringIO())
    print(
        "coverage by the unit tests: "
        + ", ".join(f"{room} {percent:.0f} %" for room, percent in found.items())
    )
    print(f"coverage in all: {total:.1f} %")
    low = [room for room, floor in FLOORS.items() if found[room] < floor]
    for room in low:
        print(f"{room}: {found[room]:.1f} % of lines are run, {FLOORS[room]:g} % are wanted", file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
