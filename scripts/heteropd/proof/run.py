"""The proof, start to end: ask, send, judge."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
from rich.console import Console

from heteropd.config.validation import Settings
from heteropd.engine_api.client import AnswerProblem
from heteropd.engine_api.responses import text_of
from heteropd.errors import BadInput
from heteropd.plan.model import Plan
from heteropd.proof import connectivity, geometry, identity, integrity, kv_transfer, pairwise
from heteropd.proof.accounting import ExpectedTransfer, Observed, Traffic
from heteropd.proof.conversation import ApiRequests
from heteropd.proof.identity import EngineInfo
from heteropd.proof.integrity import Pair
from heteropd.proof.pairwise import PairResults
from heteropd.proof.probes import Probe, block_sizes, build, lengths
from heteropd.proof.progress import Phases
from heteropd.proof.session import ProbeRun, ProbeSession
from heteropd.proof.verdict import STANDIN_NOTE, Check, Floor, ProbeResult, Sent, Verdict, checked
from heteropd.system import Clock

_UP_FIX = "bring the topology up (make case1 or make case2), look at it with make status and make logs"


@dataclass(frozen=True)
class _Trial:
    """What is sent, and what is known about the engines before anything is."""

    pair: Pair
    engines: dict[str, EngineInfo]
    probes: list[Probe]
    lone: set[int]
    twice: set[int]
    config: geometry.Config | None
    dtype: str


@dataclass(frozen=True)
class _Judged:
    checks: list[Check]
    floor: Floor | None = None
    results: list[ProbeResult] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    answer: str | None = None


def run(
    plan: Plan,
    settings: Settings,
    clock: Clock,
    console: Console,
    *,
    transport: httpx.BaseTransport | None = None,
) -> Verdict:
    """Prove the KV cache of the running topology that ``plan`` describes.

    Never raises for a topology that is down or wrong: that is a verdict with failed checks. Raises `BadInput`
    for a plan without a prefill and a decode engine of stated KV geometry. ``transport`` is for tests.
    """
    pair = _geometry(plan)
    began, started_at = clock.now(), clock.wall()
    session = ProbeSession(plan, settings, clock, transport)
    try:
        with Phases(console, clock) as phases:
            judged = _judge(session, pair, phases)
            times = phases.done()
    finally:
        session.close()
    return Verdict(
        case=plan.case,
        model=plan.model,
        started_at=started_at,
        seconds=round(clock.now() - began, 2),
        standin=plan.standin,
        note=STANDIN_NOTE if plan.standin else None,
        fingerprint=plan.fingerprint(),
        versions=judged.versions,
        request={"model": plan.model, **settings.request.model_dump()},
        answer=judged.answer,
        checks=judged.checks,
        floor=judged.floor,
        probes=judged.results,
        phases=times,
    )


def _judge(session: ProbeSession, pair: Pair, phases: Phases) -> _Judged:
    down = session.unreachable()
    if down:
        return _Judged([checked("connectivity.reachable", "; ".join(down), "", fix=_UP_FIX)])
    try:
        engines = session.engines()
        same = _identity(session, engines)
        if same[0].status == "FAIL":
            return _Judged(same)
        trial = _trial(session, pair, engines)
        run_id = secrets.token_hex(8)
        seen = session.investigate(trial.probes, trial.lone, trial.twice, run_id, phases)
        few = _spread(trial.probes, session.settings.probes.each_pair)
        paired = pairwise.probe_pairs(
            session, [probe for probe in trial.probes if probe.index in few], run_id, phases
        )
    except AnswerProblem as problem:
        return _Judged([checked("connectivity.answers", str(problem), "", fix=_UP_FIX)])
    return _conclude(session, trial, same, seen, paired)


def _identity(session: ProbeSession, engines: dict[str, EngineInfo]) -> list[Check]:
    return [
        identity.check_models(engines, session.plan.model),
        identity.check_tokenizer(engines, session.settings.tokenizer_texts),
        identity.check_length(engines),
        identity.check_versions(engines),
    ]


def _trial(session: ProbeSession, pair: Pair, engines: dict[str, EngineInfo]) -> _Trial:
    wanted = session.settings.probes
    longest = min(engine.max_model_len or 2**31 for engine in engines.values()) - wanted.max_tokens
    sizes = lengths(block_sizes(*pair), wanted.least, wanted.token_budget, longest)
    words = session.prefills[0].tokenize(
        session.plan.model, " " + " ".join(session.settings.words), special=False
    )
    chosen = build(sizes, sorted(set(words)), secrets.token_hex(8))
    config = geometry.find_config(
        session.plan.model_source, *(engine.root for engine in engines.values() if engine.root)
    )
    return _Trial(
        pair=pair,
        engines=engines,
        probes=chosen,
        lone=_spread(chosen, wanted.one_by_one),
        twice=_spread(chosen, wanted.prefill_references),
        config=config,
        dtype=_dtype(session.plan, config),
    )


def _spread(chosen: Sequence[Probe], count: int) -> set[int]:
    """The indexes of ``count`` probes, evenly over all lengths."""
    count = min(count, len(chosen))
    return {chosen[(2 * part + 1) * len(chosen) // (2 * count)].index for part in range(count)}


def _conclude(
    session: ProbeSession, trial: _Trial, same: list[Check], seen: ProbeRun, paired: PairResults | None
) -> _Judged:
    settings = session.settings
    limits = settings.limits_for(trial.dtype)
    floor = integrity.measure_floor(seen.replies, trial.dtype, settings.noise, limits)
    # A floor that is not noise fails identity.weights; it must not excuse the probes as well.
    most = settings.noise.times_largest * limits.most_position
    bound = min(floor.position_bound or limits.least_position, most)
    results = [
        integrity.judge_probe(probe, _sent(probe, trial), seen.replies, bound, trial.pair)
        for probe in trial.probes
    ]
    repeated = [
        integrity.judge_probe(probe, "again", seen.replies, bound, trial.pair)
        for probe in trial.probes
        if probe.index in seen.replies.again
    ]
    document = seen.answers.document
    expected = _expected(session.plan, trial)
    return _Judged(
        [
            *_connectivity(session, seen, bound),
            *same,
            identity.check_weights(floor, limits),
            *_moved(trial, seen, expected),
            *integrity.checks(results, seen.replies, floor, settings.probes.least, bound),
            integrity.check_reuse(repeated, seen.reused),
            *(pairwise.checks(paired, expected, seen.replies, bound) if paired else []),
        ],
        floor,
        [*results, *repeated],
        {name: engine.version or "unknown" for name, engine in trial.engines.items()},
        None if isinstance(document, str) else text_of(document),
    )


def _sent(probe: Probe, trial: _Trial) -> Sent:
    return "one by one" if probe.index in trial.lone else "together"


def _connectivity(session: ProbeSession, seen: ProbeRun, bound: float) -> list[Check]:
    answers, settings, model = seen.answers, session.settings, session.plan.model
    try:
        counted = len(session.prefills[0].tokenize(model, settings.request.prompt))
    except AnswerProblem:
        counted = None
    checks = [connectivity.document_check(answers.document, settings.request, model, counted)]
    for kind in connectivity.KINDS:
        plain, streamed = answers.plain[kind], answers.streamed[kind]
        checks.append(connectivity.plain_check(kind, plain, model, settings.short.max_tokens))
        checks.append(connectivity.stream_check(kind, plain, streamed, bound))
    return checks


def _expected(plan: Plan, trial: _Trial) -> ExpectedTransfer:
    kv_dtype = geometry.kv_dtype(plan.of("decode")[0].argv) or trial.dtype
    return ExpectedTransfer(
        prompt_tokens=[len(probe.tokens) for probe in trial.probes],
        wire_block=trial.pair[0].wire_block_size,
        token_bytes=geometry.bytes_per_token(trial.config, kv_dtype) if trial.config else None,
        layers=geometry.layers_of(trial.config) if trial.config else None,
    )


def _moved(trial: _Trial, seen: ProbeRun, expected: ExpectedTransfer) -> list[Check]:
    tokens = {probe.index: len(probe.tokens) for probe in trial.probes}
    sent = Traffic(
        prefill_alone=[tokens[index] for index in seen.replies.prefill],
        decode_alone=[tokens[index] for index in seen.replies.decode],
        router_requests=ApiRequests.REQUESTS + len(seen.replies.again),
        router_tokens=seen.answers.prompt_tokens() + sum(tokens[index] for index in seen.replies.again),
    )
    return kv_transfer.checks(expected, sent, Observed(seen.window, seen.prefill, seen.decode, seen.single))


def _dtype(plan: Plan, config: geometry.Config | None) -> str:
    """What the engines compute in: as the plan says, else as the model says."""
    stated = [role.dtype for role in plan.engines if role.dtype and role.dtype != "auto"]
    return (stated[0] if stated else geometry.dtype_of(config) if config else None) or "bfloat16"


def _geometry(plan: Plan) -> Pair:
    pair = [role.kv for side in (plan.of("prefill"), plan.of("decode")) for role in side[:1]]
    if len(pair) != 2 or pair[0] is None or pair[1] is None or not plan.of("router"):
        raise BadInput(
            f"plan of {plan.case}",
            "roles",
            [role.name for role in plan.roles],
            "validation needs a router, a prefill and a decode engine with stated KV geometry",
            "make the plan with heteropd plan",
        )
    return pair[0], pair[1]
