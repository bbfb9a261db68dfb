"""The Markdown form of a verdict: the conclusion first, then what it rests on."""

import json
import shlex
from collections.abc import Iterable

from heteropd import pages
from heteropd.findings import Evidence
from heteropd.plan.model import Plan, RolePlan
from heteropd.proof.geometry import planned_dtype
from heteropd.proof.verdict import Floor, ProbeResult, Verdict, geometry_seen


def render(verdict: Verdict, plan: Plan) -> str:
    """The whole page; ends with a newline."""
    header, roles = role_table(plan)
    marked = [[f"**{cell}**" if cell.endswith("(stand-in)") else cell for cell in row] for row in roles]
    return pages.render(
        "verdict.md.j2",
        verdict=verdict,
        plan=plan,
        roles=(header, marked),
        versions=", ".join(f"{name} {version}" for name, version in verdict.versions.items()),
        seen=geometry_seen(verdict.checks),
        parameters=", ".join(f"{name}={value}" for name, value in plan.parameters.items()),
        checks=[[check.status, check.id, check.text, _evidence(check.evidence)] for check in verdict.checks],
        floor=_floor(verdict.floor) if verdict.floor else [],
        probes=probe_table(verdict.probes),
        phases=[[each.name, f"{each.started_s:.1f}", f"{each.seconds:.1f}"] for each in verdict.phases],
        curl=curl(verdict, plan),
    )


def role_table(plan: Plan) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what each role was planned to be."""
    header = ["role", "asked for", "runs on", "URL", "layout", "block", "on the wire", "conversion", "dtype"]
    return header, [_role(role) for role in plan.roles]


def _role(role: RolePlan) -> list[str]:
    runs_on = f"{role.runs_on} (stand-in)" if role.standin else role.runs_on
    kv = role.kv
    if kv is None:
        return [role.name, role.platform, runs_on, role.url, "", "", "", "", ""]
    told = {"permute on receive": kv.permute_on_receive, "convert on save": kv.convert_on_save}
    conversion = ", ".join(name for name, on in told.items() if on) or "none"
    wire = f"{kv.wire_layout}/{kv.wire_block_size}"
    return [
        role.name,
        role.platform,
        runs_on,
        role.url,
        kv.layout,
        str(kv.block_size),
        wire,
        conversion,
        planned_dtype(role, None) or "auto",
    ]


def _evidence(evidence: Evidence) -> str:
    return "; ".join(f"{name} {value_text(value)}" for name, value in evidence.items())


def value_text(value: object) -> str:
    """A figure of the evidence for people."""
    if isinstance(value, bool) or value is None:
        return {None: "unknown", True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return " ".join(value_text(item) for item in value) or "none"
    return json.dumps(value, ensure_ascii=False)


def _floor(floor: Floor) -> list[list[str]]:
    figures = {
        "between the engines: typical probe": floor.median,
        "90 % of positions": floor.p90,
        "largest": floor.maximum,
        "cold against warm: typical probe": floor.warm_median,
        "cold against warm: largest": floor.warm_maximum,
        "allowed at any position": floor.position_bound,
        "allowed for the typical probe": floor.run_bound,
    }
    return [[name, _nats(value)] for name, value in figures.items()]


def probe_table(probes: Iterable[ProbeResult]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what became of each prompt."""
    header = [
        "tokens",
        "sent",
        "prefill blocks",
        "decode blocks",
        "wire blocks",
        "outcome",
        "diverged at",
        "gap",
        "largest diff.",
        "mean diff.",
        "against",
    ]
    return header, [_probe(result) for result in probes]


def _probe(result: ProbeResult) -> list[str]:
    outcome = f"error: {result.error}" if result.error else result.outcome
    blocks = [str(count) for count in (result.prefill_blocks, result.decode_blocks, result.wire_blocks)]
    where = "" if result.diverged_at is None else str(result.diverged_at)
    gap = "" if result.diverged_at is None else _nats(result.gap)
    return [
        str(result.prompt_tokens),
        result.sent,
        *blocks,
        outcome,
        where,
        gap,
        _nats(result.distance),
        _nats(result.mean),
        ", ".join(result.against),
    ]


def _nats(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2e}"


def curl(verdict: Verdict, plan: Plan) -> str:
    """The source document's request as a command, for this topology."""
    body = shlex.quote(json.dumps(verdict.request, ensure_ascii=False))
    return f"curl {plan.router.url}/v1/completions \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"
