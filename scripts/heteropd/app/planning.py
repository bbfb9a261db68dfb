"""From arguments to a plan for this machine. Loads no client of Docker or HTTP."""

from heteropd.config.arguments import PlanArguments
from heteropd.config.checkout import root
from heteropd.config.machine import probe
from heteropd.errors import BadInput
from heteropd.plan import make
from heteropd.plan.model import Plan


def planned(requested: PlanArguments) -> Plan:
    """The plan that is asked for, for this machine. Raises BadInput."""
    return make(requested, root(), probe())


def refuse_processes_elsewhere(plan: Plan) -> None:
    """Raise BadInput for processes anywhere but on this machine, as stand-ins; containers start anywhere."""
    elsewhere = sorted({role.host.name for role in plan.roles if role.host.ssh})
    if plan.runtime == "process" and (elsewhere or not plan.standin):
        raise BadInput(
            "command line", "runtime", "process",
            f"starts nothing on {', '.join(elsewhere) or 'accelerators'}",
            f"use runtime=docker, or print scripts to run there: make plan case={plan.case} format=bash …",
        )  # fmt: skip
