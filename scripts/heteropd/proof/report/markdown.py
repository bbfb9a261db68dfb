"""The Markdown form of a verdict: the conclusion first, then what it rests on."""

import json
import shlex
from collections.abc import Iterable, Sequence

from heteropd.findings import Evidence
from heteropd.plan.model import Plan, RolePlan
from heteropd.proof.geometry import planned_dtype
from heteropd.proof.verdict import Check, Floor, ProbeResult, Verdict, geometry_seen

_SHOWN = 160  # characters of a text in a table


def render(verdict: Verdict, plan: Plan) -> str:
    """The whole page; ends with a newline."""
    parts = [
        f"# {verdict.result}{' (mixed)' if verdict.real else ''}: {verdict.case}, {verdict.model}",
        _conclusion(verdict),
        "## Topology",
        _roles(plan),
        _facts(verdict, plan),
        "## Checks",
        _checks(verdict.checks),
    ]
    if verdict.floor is not None:
        parts += ["## Noise floor", _floor(verdict.floor)]
    if verdict.probes:
        parts += ["## Probes", _table(*probe_table(verdict.probes))]
    parts += ["## Time", _times(verdict), "## Try it", _try_it(verdict, plan)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _conclusion(verdict: Verdict) -> str:
    lines = [verdict.headline() + "."]
    if verdict.note:
        lines.append(f"> **{verdict.note}**")
    for check in verdict.checks:
        if check.status == "FAIL":
            lines.append(f"- **{check.id}**: {check.text}" + (f". Fix: {check.fix}." if check.fix else "."))
    return "\n\n".join(lines)


def role_table(plan: Plan) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what each role was planned to be."""
    header = ["role", "asked for", "runs on", "URL", "layout", "block", "on the wire", "conversion", "dtype"]
    return header, [_role(role) for role in plan.roles]


def _roles(plan: Plan) -> str:
    header, rows = role_table(plan)
    marked = [[f"**{cell}**" if cell.endswith("(stand-in)") else cell for cell in row] for row in rows]
    return _table(header, marked)


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


def _facts(verdict: Verdict, plan: Plan) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in verdict.versions.items()) or "not asked"
    agreed = plan.agreed_block_size if plan.agreed_block_size is not None else "none"
    return _table(
        ["what", "value"],
        [
            ["pins", f"{plan.pins}, variant {plan.variant}"],
            ["vLLM", versions],
            ["model", f"{verdict.model} from {plan.model_source}"],
            ["agreed block size", str(agreed)],
            ["seen of the engines", geometry_seen(verdict.checks) or "nothing"],
            ["runtime", plan.runtime],
            ["plan", verdict.fingerprint],
            ["parameters", ", ".join(f"{name}={value}" for name, value in plan.parameters.items())],
        ],
    )


def _checks(checks: Sequence[Check]) -> str:
    rows = [[check.status, check.id, check.text, _evidence(check.evidence)] for check in checks]
    return _table(["", "check", "finding", "evidence"], rows)


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


def _floor(floor: Floor) -> str:
    text = (
        "Log-probability differences in nats between the prefill engine alone and the decode engine alone "
        f"({floor.dtype}, {floor.probes} prompts, {floor.positions} positions) and of one engine cold "
        f"against warm ({floor.warm_probes} prompts), and what follows from them for disaggregated answers."
    )
    figures = {
        "between the engines: typical probe": floor.median,
        "90 % of positions": floor.p90,
        "largest": floor.maximum,
        "cold against warm: typical probe": floor.warm_median,
        "cold against warm: largest": floor.warm_maximum,
        "allowed at any position": floor.position_bound,
        "allowed for the typical probe": floor.run_bound,
    }
    rows = [[name, _nats(value)] for name, value in figures.items()]
    return text + "\n\n" + _table(["figure", "nats"], rows)


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


def _times(verdict: Verdict) -> str:
    began = verdict.started_at.isoformat(timespec="seconds")
    rows = [[phase.name, f"{phase.started_s:.1f}", f"{phase.seconds:.1f}"] for phase in verdict.phases]
    text = f"Began {began}, took {verdict.seconds:.1f} s. Phases overlap."
    return text + ("\n\n" + _table(["phase", "from (s)", "took (s)"], rows) if rows else "")


def curl(verdict: Verdict, plan: Plan) -> str:
    """The source document's request as a command, for this topology."""
    body = shlex.quote(json.dumps(verdict.request, ensure_ascii=False))
    return f"curl {plan.router.url}/v1/completions \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"


def _try_it(verdict: Verdict, plan: Plan) -> str:
    answer = f"\n\nIt answered:\n\n> {' '.join(verdict.answer.split())}" if verdict.answer else ""
    return f"```bash\n{curl(verdict, plan)}\n```{answer}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(text) for text in row) + " |" for row in rows)])


def _cell(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= _SHOWN else flat[: _SHOWN - 1] + "…"
