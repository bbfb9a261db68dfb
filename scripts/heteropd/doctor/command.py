"""The verb `doctor`: from a plan to its hosts, and from findings to an exit status."""

import sys
from dataclasses import dataclass
from pathlib import Path

from heteropd.config import env
from heteropd.doctor import judge, live, targets
from heteropd.doctor.examination import DoctorReport, examine
from heteropd.doctor.reach import Outside, Reach, ssh_config
from heteropd.errors import EXIT_FAILED, EXIT_OK, KitError
from heteropd.plan.model import Plan
from heteropd.topology import Context, load


@dataclass(frozen=True)
class DoctorOptions:
    """``container``: look into this one of this machine, not at hosts; ``everything``: list SKIPs, too."""

    container: str | None = None
    as_json: bool = False
    everything: bool = False
    ssh_config: str | None = None


def run(plan: Plan | None, context: Context, options: DoctorOptions) -> int:
    """Examine a container, or hosts as `examine_hosts` says; 0, or 1 with any FAIL. Raises BadInput."""
    outside = Outside(Reach(ssh_config(options.ssh_config)))
    if options.container is not None:
        target = targets.container(options.container)
        report = examine([target], judge.load(context.root), outside=outside)
    else:
        report = examine_hosts(plan, context, outside)
    if options.as_json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        report.show(context.console, everything=options.everything)
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


def require_healthy_hosts(plan: Plan, context: Context, ssh_config: Path | None, *, examine: bool) -> None:
    """Examine a plan's hosts unless all of them are this machine; print what is wrong.

    ``examine``: False leaves it out. Raises KitError (exit status 1) for a FAIL.
    """
    if not examine or not any(role.host.ssh for role in plan.roles) or _runs(plan, context):
        return
    report = examine_hosts(plan, context, Outside(Reach(ssh_config)))
    report.show(context.console, passed=False)
    if not report.ok:
        raise KitError(
            f"the doctor found what is wrong with the hosts ({report.summary}), so nothing was started; "
            "fix it, or start all the same with doctor=off"
        )


def _runs(plan: Plan, context: Context) -> bool:
    """Whether this very plan runs already: it holds its own ports, and starts nothing."""
    topology = load(context)
    return topology is not None and topology.fingerprint == plan.fingerprint() and not topology.dead()
