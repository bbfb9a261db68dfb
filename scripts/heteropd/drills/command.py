"""The verb `drill`: from what is asked for to faults, and from what was seen to an exit status."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heteropd.config.checkout import root
from heteropd.config.drills import load as load_drills
from heteropd.config.validation import load as load_settings
from heteropd.drills import report
from heteropd.drills import run as room
from heteropd.errors import EXIT_FAILED, EXIT_OK, Interrupted
from heteropd.plan.model import Plan
from heteropd.topology import Context


@dataclass(frozen=True)
class DrillRequest:
    """Which drills, and how often each. ``yes``: break hardware and other hosts, too; ``write``: write what
    was seen into docs/operations.md."""

    names: Sequence[str]
    times: int = 1
    yes: bool = False
    write: bool = False
    as_json: bool = False


def run(request: DrillRequest, ready: Callable[[Callable[[Plan], None]], Context]) -> int:
    """Perform drills on what runs; 0, or 1 when a promise is broken or no drill could be performed.

    ``ready`` gives the context that roles can be started with; before it starts anything it calls what it is
    given with the plan. Raises BadInput.
    """
    drills = load_drills(root())
    names = room.chosen(drills, request.names)

    def consent(plan: Plan) -> None:
        if not request.yes:
            room.require_consent(plan, drills, names)

    context = ready(consent)
    results = []
    try:
        for result in room.perform(names, request.times, context, load_settings(context.root), drills):
            results.append(result)
            everything = report.keep(results, context.state_dir / "reports")
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted in the middle of a fault: see `make status`, then restart or down"
        ) from None
    if request.write:
        report.export_results(context.root, everything, drills)
    if request.as_json:
        sys.stdout.write(report.to_json(results))
    else:
        report.show(results, context.console)
    held = any(result.status == "held" for result in results)
    return EXIT_OK if held and not room.broken(results) else EXIT_FAILED
