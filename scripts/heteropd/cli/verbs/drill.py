"""The verb `drill`."""

from collections.abc import Callable

from heteropd import topology
from heteropd.app.operations import as_started, located, ready_to_start
from heteropd.config import env
from heteropd.config.arguments import PlanArguments
from heteropd.config.checkout import root
from heteropd.drills import command
from heteropd.errors import BadInput
from heteropd.plan.model import Plan
from heteropd.topology import Context


def drill(
    *,
    name: list[str],
    case: str | None,
    times: int,
    yes: bool,
    write: bool,
    json: bool,
    hosts: str | None,
    ssh_config: str | None,
) -> int:
    """Break parts of the running topology on purpose: is what is promised for that kept? 0 or 1."""
    known = env.load(root()).cases
    cases = [*([case] if case else []), *(word for word in name if word in known)]
    if len(cases) > 1:
        raise BadInput("command line", "case", " ".join(cases), "is given twice", "keep one of the two")
    request = command.DrillRequest(
        [word for word in name if word not in known], times, yes=yes, write=write, as_json=json
    )

    def ready(consent: Callable[[Plan], None]) -> Context:
        """What runs; a case that is named is brought up first, as by `up`."""
        if not cases:
            context = located(hosts, ssh_config, aside=json)
            consent(topology.running(context).plan)
            return as_started(context)
        wanted = PlanArguments(cases[0], {"hosts": hosts} if hosts else {})
        plan, context = ready_to_start(wanted, ssh_config=ssh_config, aside=json)
        consent(plan)
        topology.up(plan, context)
        return context

    return command.run(request, ready)
