"""The verbs over a topology, without its proof: up, look at, end."""

import shutil
import sys
from json import dumps

from heteropd import export, topology
from heteropd.app import wiring
from heteropd.app.operations import as_started, located, ready_to_start
from heteropd.app.planning import planned, refuse_processes_elsewhere
from heteropd.config.arguments import PlanArguments
from heteropd.config.checkout import root
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput
from heteropd.observe import services


def up(*, requested: PlanArguments, dry_run: bool, doctor: bool, ssh_config: str | None) -> int:
    """Bring a case up and wait until it answers."""
    if dry_run:
        return show_plan(requested)
    topology.up(*ready_to_start(requested, doctor=doctor, ssh_config=ssh_config))
    return EXIT_OK


def status(*, json: bool, hosts: str | None, ssh_config: str | None) -> int:
    """Say what is running."""
    context = located(hosts, ssh_config, aside=json)
    report, urls = topology.status(context), services.running(context)
    if json:
        sys.stdout.write(dumps({**report.model_dump(mode="json"), "observe": urls}, indent=2) + "\n")
        return EXIT_OK
    report.show(context.console)
    for name, url in urls.items():
        context.say(f"{name}: {url}")
    return EXIT_OK


def logs(
    *, role: str | None, follow: bool, tail: int, all: bool, hosts: str | None, ssh_config: str | None
) -> int:
    """Print or follow logs."""
    topology.logs(located(hosts, ssh_config), role, follow=follow, tail=tail, everything=all)
    return EXIT_OK


def restart(*, role: str | None, hosts: str | None, ssh_config: str | None) -> int:
    """Restart a role of the running topology, and what must go with it."""
    if role is None:
        raise BadInput("command line", "role", None, "missing", "name one: role=decode-0")
    topology.restart(role, as_started(located(hosts, ssh_config)))
    return EXIT_OK


def down(*, hosts: str | None, ssh_config: str | None) -> int:
    """End the topology."""
    context = located(hosts, ssh_config)
    if observed := services.end(context):
        context.say(f"ended: {', '.join(observed)}")
    report = topology.down(context)
    report.show(context.console)
    return EXIT_OK if report.ok else EXIT_FAILED


def prepare() -> int:
    """Make the stand-in engine's environment and the default model, without starting anything."""
    wiring.prepare(root())
    return EXIT_OK


def clean() -> int:
    """Remove .nox and .heteropd; refuses while something runs."""
    context = wiring.context(root())
    if topology.load(context) is not None:
        raise BadInput("clean", "topology", "running", "would lose its state", "`make down` first")
    services.end(context)
    topology.down(context)  # what runs without a state, too
    for folder in (context.state_dir, root() / ".nox"):
        shutil.rmtree(folder, ignore_errors=True)
    return EXIT_OK


def show_plan(requested: PlanArguments) -> int:
    """Print what would run, and start nothing."""
    plan = planned(requested)
    refuse_processes_elsewhere(plan)
    sys.stdout.write(export.render(plan))
    return EXIT_OK
