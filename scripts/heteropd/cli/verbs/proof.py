"""The verbs that prove: bring up and prove, prove again, and what is kept of it."""

from heteropd import topology
from heteropd.app import wiring
from heteropd.app.operations import ready_to_start
from heteropd.cli.verbs.topology import show_plan
from heteropd.config.arguments import PlanArguments
from heteropd.config.checkout import root
from heteropd.config.types import EngineRole
from heteropd.errors import EXIT_OK, BadInput
from heteropd.proof.command import prove, prove_elsewhere
from heteropd.proof.elsewhere import Given
from heteropd.proof.report import compare_reports, list_reports


def run(
    *, requested: PlanArguments, dry_run: bool, doctor: bool, ssh_config: str | None, thorough: bool
) -> int:
    """Bring a case up and prove it. The topology stays up, whatever the verdict."""
    if dry_run:
        return show_plan(requested)
    plan, context = ready_to_start(requested, doctor=doctor, ssh_config=ssh_config)
    with topology.InterruptScope(context) as scope:
        return prove(topology.up(plan, context, scope=scope), context, thorough=thorough, came_up=True)


def validate(
    *,
    thorough: bool,
    url: str | None,
    prefill: list[str],
    decode: list[str],
    prefill_kv_layout: str | None,
    decode_kv_layout: str | None,
    prefill_block_size: int | None,
    decode_block_size: int | None,
    agreed_block_size: int | None,
    model: str | None,
) -> int:
    """Prove the running topology, or one at URLs; 0 or 1."""
    context = wiring.context(root())
    layouts: dict[EngineRole, str | None] = {"prefill": prefill_kv_layout, "decode": decode_kv_layout}
    sizes: dict[EngineRole, int | None] = {"prefill": prefill_block_size, "decode": decode_block_size}
    if url is not None:
        given = Given(url, prefill, decode, layouts, sizes, agreed_block_size, model)
        return prove_elsewhere(given, context, thorough=thorough)
    if prefill or decode or model or agreed_block_size or any([*layouts.values(), *sizes.values()]):
        fix = "url=http://HOST:PORT of the router, or none of these for what runs here"
        raise BadInput("command line", "url", None, "is missing", fix)
    return prove(topology.running(context), context, thorough=thorough)


def reports(*, of: list[str]) -> int:
    """List the verdicts that are kept, or say in what two of them differ."""
    context = wiring.context(root())
    folder = context.state_dir / "reports"
    if of:
        compare_reports(folder, of, context.console)
    else:
        list_reports(folder, context.console)
    return EXIT_OK
