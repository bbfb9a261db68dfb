"""What verbs over a topology have in common: what it is started with, where it is found, its verdict."""

from dataclasses import replace

from heteropd.app import wiring
from heteropd.app.planning import planned, refuse_processes_elsewhere
from heteropd.config import env, yamlfile
from heteropd.config.arguments import PlanArguments
from heteropd.config.checkout import root
from heteropd.doctor import reach
from heteropd.doctor.command import require_healthy_hosts
from heteropd.plan.model import Plan
from heteropd.topology import Context, load, recover


def ready_to_start(
    requested: PlanArguments, *, ssh_config: str | None = None, doctor: bool = True, aside: bool = False
) -> tuple[Plan, Context]:
    """The plan, seen by the doctor where it goes to other hosts, and what it is started with.

    ``aside``: all that is said goes to stderr. Raises BadInput, MissingPrerequisite, and KitError where the
    doctor finds what would fail.
    """
    plan, context = planned(requested), wiring.context(root(), aside=aside)
    require_healthy_hosts(plan, context, reach.use(ssh_config), examine=doctor)
    refuse_processes_elsewhere(plan)
    hint = wiring.could_be_real(plan)
    if hint:
        context.console.print(hint, soft_wrap=True, markup=False)
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


def _prepared(plan: Plan, context: Context) -> Context:
    if plan.runtime == "docker":
        model = wiring.prepare_for_containers(root(), plan)
    else:
        context = replace(context, accelerator_python=wiring.real_engine(root(), plan))
        model = wiring.prepare(root())
    return wiring.with_patience(wiring.with_model(context, model), plan)
