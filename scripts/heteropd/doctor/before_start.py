"""The doctor before a start: hosts other than this machine are examined first, and a FAIL stops."""

from pathlib import Path

from heteropd.doctor.command import examine_hosts
from heteropd.doctor.reach import Outside, Reach
from heteropd.errors import KitError
from heteropd.plan.model import Plan
from heteropd.topology import Context, load


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
