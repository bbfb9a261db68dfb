"""The verb `doctor`: from words to hosts, and from findings to an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from heteropd.config import env
from heteropd.config.arguments import Arguments
from heteropd.doctor import judge, live, targets
from heteropd.doctor.examination import DoctorReport, examine
from heteropd.doctor.reach import Outside, Reach, ssh_config
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput
from heteropd.plan.model import Plan
from heteropd.topology import Context, load

FLAGS, OPTIONS = ("json", "everything"), ("container", "case", "ssh_config")


def run(words: list[str], make: Callable[[list[str]], Plan], context: Context) -> int:
    """Examine; 0, or 1 with any FAIL. ``make`` plans the words of a case. Raises BadInput."""
    parsed = Arguments(words, flags=FLAGS, options=OPTIONS)
    outside = Outside(Reach(ssh_config(parsed.options.get("ssh_config"))))
    case = [*([parsed.options["case"]] if "case" in parsed.options else []), *parsed.rest]
    if "container" in parsed.options:
        if case:
            problem = "does not go with container="
            raise BadInput("command line", "doctor", " ".join(case), problem, "leave one out")
        target = targets.container(parsed.options["container"])
        report = examine([target], judge.load(context.root), outside=outside)
    else:
        report = examine_hosts(make(case) if case else None, context, outside)
    if "json" in parsed.flags:
        sys.stdout.write(report.to_json() + "\n")
    else:
        report.show(context.console, everything="everything" in parsed.flags)
    return EXIT_OK if report.ok else EXIT_FAILED


def examine_hosts(planned: Plan | None, context: Context, outside: Outside | None = None) -> DoctorReport:
    """The hosts of a plan; without one, those of what runs; without that, this machine."""
    topology = load(context)
    alive = topology is not None and any(role.alive for role in topology.roles)
    plan = planned or (topology.plan if topology else None)
    running = None
    known = env.load(context.root)
    itself = bool(topology and plan and plan.fingerprint() == topology.plan.fingerprint())
    if topology and itself:
        running = live.read(topology, context, known)
    python = context.engine_python
    hosts = [targets.this_machine()]
    if plan:
        hosts = targets.of_plan(plan, known, serves=alive, itself=itself, python=python)
    return examine(hosts, judge.load(context.root), plan, running, outside)
