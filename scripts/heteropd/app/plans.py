"""What the verbs have in common: from words to a plan, to what it is started with, to a verdict."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from heteropd.config.arguments import Arguments
from heteropd.config.checkout import root
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput

if TYPE_CHECKING:
    from heteropd.plan.model import Plan
    from heteropd.topology import Context, Topology


def planned(words: list[str]) -> Plan:
    """The plan that the words ask for, for this machine. Raises BadInput."""
    from heteropd.config.machine import probe
    from heteropd.plan import make

    return make(words, root(), probe())


def only_shown(words: list[str]) -> bool:
    """With ``dry_run=1``, print what would run on which host, contact none of them, and say so."""
    from heteropd import export
    from heteropd.doctor import before_start

    parsed = Arguments(words, ("dry_run",), before_start.OPTIONS)
    if "dry_run" not in parsed.flags:
        return False
    plan = planned(parsed.rest)
    _refuse_processes_elsewhere(plan)
    sys.stdout.write(export.render(plan))
    return True


def ready_to_start(words: list[str], *, aside: bool = False) -> tuple[Plan, Context]:
    """The plan, seen by the doctor where it goes to other hosts, and what it is started with.

    ``aside``: all that is said goes to stderr. Raises BadInput, MissingPrerequisite, and KitError where the
    doctor finds what would fail.
    """
    from heteropd.doctor import before_start

    parsed = Arguments(words, options=before_start.OPTIONS)
    plan, ours = planned(parsed.rest), context(aside=aside)
    before_start.require_healthy_hosts(plan, parsed.options, ours)
    _refuse_processes_elsewhere(plan)
    return plan, _prepared(plan, ours)


def as_started(found: Context) -> Context:
    """The context with what the recorded topology's roles are started with."""
    from heteropd import topology

    recorded = topology.load(found)
    return found if recorded is None else _prepared(recorded.plan, found)


def located(parsed: Arguments) -> Context:
    """The state folder's context; with ``hosts=FILE``, what runs there is looked up if no state knows it.

    With ``--json`` all that is said goes to stderr.
    """
    from heteropd import topology
    from heteropd.config import env, yamlfile
    from heteropd.doctor import reach

    ours = context(aside="json" in parsed.flags)
    reach.use(parsed.options.get("ssh_config"))
    if "hosts" in parsed.options:
        file = parsed.options["hosts"]
        topology.recover(env.load_hosts(yamlfile.located(file, "hosts", root()), root()), file, ours)
    return ours


def prove(running: Topology, ours: Context) -> int:
    """Validate what runs, write the report and show it: 0 or 1."""
    from heteropd import proof as room
    from heteropd.proof import report

    verdict = room.run(running.plan, room.load(root()), ours.clock, ours.console)
    paths = report.write(verdict, running.plan, ours.state_dir / "reports")
    report.show(verdict, running.plan, paths, ours.console)
    return EXIT_OK if verdict.passed else EXIT_FAILED


def context(*, aside: bool = False) -> Context:
    """What topologies of this checkout run with; ``aside`` has them say everything to stderr."""
    from heteropd.app import wiring

    return wiring.context(root(), aside=aside)


def prepare() -> Path:
    """Make the stand-ins' environment and the default model where they are missing; the model's folder."""
    from heteropd.app import wiring

    return wiring.prepare(root())


def _prepared(plan: Plan, ours: Context) -> Context:
    from heteropd.app import wiring

    in_containers = plan.runtime == "docker"
    model = wiring.prepare_for_containers(root(), plan) if in_containers else prepare()
    return wiring.with_patience(wiring.with_model(ours, model), plan)


def _refuse_processes_elsewhere(plan: Plan) -> None:
    """Processes are started as stand-ins on this machine only; containers on any host."""
    elsewhere = sorted({role.host.name for role in plan.roles if role.host.ssh})
    if plan.runtime == "process" and (elsewhere or not plan.standin):
        raise BadInput(
            "command line", "runtime", "process",
            f"starts nothing on {', '.join(elsewhere) or 'accelerators'}",
            f"use runtime=docker, or print scripts to run there: make plan case={plan.case} format=bash …",
        )  # fmt: skip
