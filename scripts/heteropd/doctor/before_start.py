"""The doctor before a start: hosts other than this machine are examined first, and a FAIL stops."""

from __future__ import annotations

from collections.abc import Mapping

from heteropd.doctor.command import examine_hosts
from heteropd.doctor.reach import Outside, Reach, use
from heteropd.errors import BadInput, KitError
from heteropd.plan.model import Plan
from heteropd.topology import Context, load

OPTIONS = ("doctor", "ssh_config")


def require_healthy_hosts(plan: Plan, options: Mapping[str, str], context: Context) -> None:
    """Examine a plan's hosts unless ``doctor=off``, or all of them are this machine; print what is wrong.

    Raises KitError (exit status 1) for a FAIL, BadInput for an option.
    """
    switch = options.get("doctor", "on")
    if switch not in ("on", "off"):
        raise BadInput("command line", "doctor", switch, "is neither on nor off", "doctor=off leaves it out")
    config = use(options.get("ssh_config"))
    if switch == "off" or not any(role.host.ssh for role in plan.roles) or _runs(plan, context):
        return
    report = examine_hosts(plan, context, Outside(Reach(config)))
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
