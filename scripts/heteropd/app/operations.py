"""What verbs over a topology have in common: what it is started with, where it is found, its verdict."""

from __future__ import annotations

from heteropd import proof
from heteropd.app import wiring
from heteropd.app.planning import planned, refuse_processes_elsewhere
from heteropd.config import env, yamlfile
from heteropd.config.arguments import PlanArguments
from heteropd.config.checkout import root
from heteropd.doctor import before_start, reach
from heteropd.errors import EXIT_FAILED, EXIT_OK
from heteropd.plan.model import Plan
from heteropd.proof import report
from heteropd.topology import Context, Topology, load, recover


def ready_to_start(
    requested: PlanArguments, *, ssh_config: str | None = None, doctor: bool = True, aside: bool = False
) -> tuple[Plan, Context]:
    """The plan, seen by the doctor where it goes to other hosts, and what it is started with.

    ``aside``: all that is said goes to stderr. Raises BadInput, MissingPrerequisite, and KitError where the
    doctor finds what would fail.
    """
    plan, context = planned(requested), wiring.context(root(), aside=aside)
    before_start.require_healthy_hosts(plan, context, reach.use(ssh_config), examine=doctor)
    refuse_processes_elsewhere(plan)
    return plan, _prepared(plan, context)


def as_started(context: Context) -> Context:
    """The context with what the recorded topology's roles are started with."""
    recorded = load(context)
    return context if recorded is None else _prepared(recorded.plan, context)


def located(hosts: str | None = None, ssh_config: str | None = None, *, aside: bool = False) -> Context:
    """The state folder's context; with a hosts file, what runs there is looked up if no state knows it.

    ``aside``: all that is said goes to stderr. Raises BadInput.
    """
    context = wiring.context(root(), aside=aside)
    reach.use(ssh_config)
    if hosts is not None:
        recover(env.load_hosts(yamlfile.located(hosts, "hosts", root()), root()), hosts, context)
    return context


def prove(running: Topology, context: Context) -> int:
    """Validate what runs, write the report and show it: 0 or 1."""
    verdict = proof.run(running.plan, proof.load(root()), context.clock, context.console)
    paths = report.write(verdict, running.plan, context.state_dir / "reports")
    report.show(verdict, running.plan, paths, context.console)
    return EXIT_OK if verdict.passed else EXIT_FAILED


def _prepared(plan: Plan, context: Context) -> Context:
    in_containers = plan.runtime == "docker"
    model = wiring.prepare_for_containers(root(), plan) if in_containers else wiring.prepare(root())
    return wiring.with_patience(wiring.with_model(context, model), plan)
