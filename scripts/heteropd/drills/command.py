"""The verb `drill`: from words to faults, and from what was seen to an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from heteropd.config.arguments import Arguments
from heteropd.config.checkout import root
from heteropd.config.validation import load as load_settings
from heteropd.drills import catalogue, report
from heteropd.drills import run as room
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput, Interrupted
from heteropd.plan.model import Plan
from heteropd.topology import Context

OPTIONS = ("times", "name", "case", "hosts", "ssh_config")
FLAGS = ("yes", "json", "write")


def run(words: Arguments, ready: Callable[[Callable[[Plan], None]], Context]) -> int:
    """Perform drills on what runs; 0, or 1 when a promise is broken or no drill could be performed.

    ``ready`` gives the context that roles can be started with; before it starts anything it calls what it is
    given with the plan. Raises BadInput.
    """
    times = words.options.get("times", "1")
    if not times.isdigit() or not int(times):
        raise BadInput("command line", "times", times, "is not a number of times", "times=5")
    drills = catalogue.load(root())
    names = room.chosen(drills, [*words.rest, *words.options.get("name", "").split()])

    def consent(plan: Plan) -> None:
        if "yes" not in words.flags:
            room.require_consent(plan, drills, names)

    context = ready(consent)
    results = []
    try:
        for result in room.perform(names, int(times), context, load_settings(context.root), drills):
            results.append(result)
            everything = report.keep(results, context.state_dir / "reports")
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted in the middle of a fault: see `make status`, then restart or down"
        ) from None
    if "write" in words.flags:
        report.export_results(context.root, everything, drills)
    if "json" in words.flags:
        sys.stdout.write(report.to_json(results))
    else:
        report.show(results, context.console)
    held = any(result.status == "held" for result in results)
    return EXIT_OK if held and not room.broken(results) else EXIT_FAILED
