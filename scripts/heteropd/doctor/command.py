"""The verb `doctor`: from words to hosts, and from results to an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from heteropd.config import env
from heteropd.config.arguments import Arguments
from heteropd.doctor import catalogue, examination, live, targets
from heteropd.doctor.reach import Outside, Reach, ssh_config
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput
from heteropd.plan.model import Plan
from heteropd.topology import Context, load


def run(words: list[str], make: Callable[[list[str]], Plan], context: Context) -> int:
    """Examine; 0, or 1 with any FAIL. ``make`` plans the words of a case. Raises BadInput."""
    parsed = Arguments(words, flags=("json",), options=("container", "case", "ssh_config"))
    outside = Outside(Reach(ssh_config(parsed.options.get("ssh_config"))))
    asked = [*([parsed.options["case"]] if "case" in parsed.options else []), *parsed.rest]
    checks = catalogue.load(context.root)
    if "container" in parsed.options:
        if asked:
            left = " ".join(asked)
            raise BadInput("command line", "doctor", left, "does not go with container=", "leave one out")
        report = examination.examine(
            [targets.container(parsed.options["container"])], checks, outside=outside
        )
    else:
        report = hosts(make(asked) if asked else None, context, outside)
    if "json" in parsed.flags:
        sys.stdout.write(report.to_json() + "\n")
    else:
        report.show(context.console)
    return EXIT_OK if report.ok else EXIT_FAILED


def hosts(wanted: Plan | None, context: Context, outside: Outside | None = None) -> examination.DoctorReport:
    """The hosts of a plan; without one, those of what runs; without that, this machine."""
    topology = load(context)
    alive = topology is not None and any(role.alive for role in topology.roles)
    plan = wanted or (topology.plan if topology else None)
    running = None
    itself = bool(topology and plan and plan.fingerprint() == topology.plan.fingerprint())
    if topology and itself:
        running = live.read(topology, context, env.load(context.root))
    python = context.engine_python
    found = targets.of_plan(plan, serves=alive, itself=itself, python=python) if plan else [targets.here()]
    return examination.examine(found, catalogue.load(context.root), plan, running, outside)
