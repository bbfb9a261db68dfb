"""The proof, start to end: ask, send, judge."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import httpx
from rich.console import Console

from heteropd.config.validation import Settings
from heteropd.engine_api.client import AnswerProblem
from heteropd.engine_api.responses import text_of
from heteropd.errors import BadInput
from heteropd.plan.model import Plan
from heteropd.proof import (
    as_users_ask,
    connectivity,
    geometry,
    identity,
    integrity,
    kv_digest,
    kv_transfer,
    pairwise,
)
from heteropd.proof.accounting import ExpectedTransfer
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.elsewhere import CASE
from heteropd.proof.engine_info import EngineInfo, describe
from heteropd.proof.integrity import Pair
from heteropd.proof.investigate import Investigation, ProbeRun
from heteropd.proof.model_files import FileHashes, ReadFiles, check_files
from heteropd.proof.pairwise import PairResults
from heteropd.proof.probes import Probe
from heteropd.proof.progress import Phases
from heteropd.proof.second_opinion import judge_by_own_noise, reconsider
from heteropd.proof.session import ProbeSession, Stalled
from heteropd.proof.trial import Trial, prepare
from heteropd.proof.verdict import Check, Floor, ProbeResult, Sent, Verdict, checked, skipped, standin_note
from heteropd.system import Clock

_UP_FIX = "bring the topology up (make case1 or make case2), look at it with make status and make logs"


def _no_log(_name: str) -> None:
    return None


def _no_files(_name: str, _root: str) -> None:
    return None


@dataclass(frozen=True)
class ProofOptions:
    """``thorough`` sends what costs more. ``logs`` gives an engine's log by its name, None where it cannot be
    read; ``files`` reads what it loads. ``transport`` is for tests."""

    thorough: bool = False
    logs: Callable[[str], str | None] = _no_log
    files: ReadFiles = _no_files
    transport: httpx.BaseTransport | None = None


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
    options: ProofOptions = ProofOptions(),
) -> Verdict:
    """Prove the KV cache of the running topology that ``plan`` describes.

    Never raises for a topology that is down or wrong: that is a verdict with failed checks. Raises `BadInput`
    for a plan without a prefill and a decode engine of stated KV geometry.
    """
    pair = _geometry(plan)
    began, started_at = clock.now(), clock.wall()
    session = ProbeSession(plan, settings, clock, options.transport)
    try:
        with Phases(console, clock) as phases:
            judged = _Proof(session, pair, phases, options).judge()
            times = phases.done()
    finally:
        session.close()
    return Verdict(
        case=plan.case,
        model=plan.model,
        started_at=started_at,
        seconds=round(clock.now() - began, 2),
        standin=plan.standin,
        real=plan.real,
        thorough=options.thorough,
        elsewhere=plan.case == CASE,
        note=_note(plan, judged.checks),
        fingerprint=plan.fingerprint(),
        versions=judged.versions,
        request={"model": plan.model, **settings.request.model_dump()},
        answer=judged.answer,
        checks=judged.checks,
        floor=judged.floor,
        probes=judged.results,
        phases=times,
    )


def _note(plan: Plan, checks: list[Check]) -> str | None:
    names = [role.name for role in plan.engines if role.standin]
    return standin_note(checks, plan.real, names) if plan.standin else None


@dataclass(frozen=True)
class _Proof:
    """One run of the proof, from the first look to the checks."""

    session: ProbeSession
    pair: Pair
    phases: Phases
    options: ProofOptions

    def judge(self) -> _Judged:
        """Ask and send; where that cannot be done, the first cause is the only finding."""
        session = self.session
        try:
            obstacle = self._obstacle()
            if obstacle:
                return _Judged([obstacle])
            engines = self._describe()
            trial = prepare(session, self.pair, engines)
            before = self._identity(trial)
            if before[0].status == "FAIL":
                return _Judged(before)
            run_id = secrets.token_hex(8)
            thorough = self.options.thorough
            seen = Investigation(session, trial, run_id, self.phases, thorough=thorough).perform()
            paired = pairwise.probe_pairs(session, trial.chosen(trial.few), run_id, self.phases)
        except AnswerProblem as problem:
            return _Judged([checked("connectivity.answers", str(problem), "", fix=_UP_FIX)])
        except Stalled as problem:
            fix = "`make status`, then the log of the role that is named (make logs)"
            return _Judged([checked("connectivity.progress", str(problem), "", fix=fix)])
        return self._conclude(trial, before, seen, paired)

    def _obstacle(self) -> Check | None:
        """What makes it useless to send anything."""
        down = self.session.unhealthy()
        if down:
            return checked("connectivity.reachable", "; ".join(down), "", fix=_UP_FIX)
        stuck = self.session.stuck_engines()
        if stuck:
            fix = "`make logs` of it; then `make restart role=NAME`"
            return checked("connectivity.computing", "; ".join(stuck), "", fix=fix)
        others = self.session.wait_for_others()
        if others:
            return checked("connectivity.idle", others, "", fix="validate an idle topology")
        return None

    def _describe(self) -> dict[str, EngineInfo]:
        session = self.session
        jobs = [
            partial(describe, engine, session.plan.model, session.settings, self.options.logs(engine.name))
            for engine in session.engines
        ]
        futures = side_by_side(jobs, len(jobs))
        session.gather(futures)
        return {engine.name: future.result() for engine, future in zip(session.engines, futures, strict=True)}

    def _identity(self, trial: Trial) -> list[Check]:
        engines, plan = trial.engines, self.session.plan
        model = identity.check_models(engines, plan.model)
        if model.status == "FAIL":
            return [model]
        return [
            model,
            identity.check_tokenizer(engines),
            identity.check_length(engines),
            identity.check_versions(engines),
            *identity.check_geometry(engines, plan, trial.config),
            check_files(self._files(engines)),
        ]

    def _files(self, engines: dict[str, EngineInfo]) -> dict[str, FileHashes | None]:
        """What each engine loads, read where it runs, side by side."""
        roots = {name: engine.root or self.session.plan.model_source for name, engine in engines.items()}
        jobs = [partial(self.options.files, name, root) for name, root in roots.items()]
        futures = side_by_side(jobs, len(jobs))
        return {name: future.result() for name, future in zip(roots, futures, strict=True)}

    def _conclude(
        self, trial: Trial, before: list[Check], seen: ProbeRun, paired: PairResults | None
    ) -> _Judged:
        settings = self.session.settings
        limits = settings.limits_for(trial.dtype)
        floor = integrity.measure_floor(seen.replies, trial.dtype, settings.noise, limits)
        # A floor that is not noise fails identity.weights; it must not excuse the probes as well.
        most = settings.noise.times_largest * limits.most_position
        bound = min(floor.position_bound or limits.least_position, most)
        results, repeated = self._results(trial, seen, bound)
        document = seen.answers.document
        expected = self._expected(trial, seen)
        return _Judged(
            [
                *self._connectivity(trial, seen, bound),
                *before,
                identity.check_weights(floor, limits),
                *kv_transfer.checks(expected, seen.traffic, seen.observed),
                *kv_digest.checks(self.session.plan, seen.observed.decode),
                *integrity.checks(results, seen.replies, floor, settings.probes.least, bound),
                integrity.check_lengths(results, trial.longest),
                integrity.check_reuse(repeated, seen.reused),
                *as_users_ask.checks(seen.answers, seen.alone, bound),
                *(pairwise.checks(paired, expected, seen.replies, bound) if paired else []),
            ],
            floor,
            [*results, *repeated],
            {name: engine.version or "unknown" for name, engine in trial.engines.items()},
            None if isinstance(document, str) else text_of(document),
        )

    def _results(
        self, trial: Trial, seen: ProbeRun, bound: float
    ) -> tuple[list[ProbeResult], list[ProbeResult]]:
        """Every probe, and those that were sent again. The few that are beyond the noise are looked at once
        more; where there are many, the topology is wrong and no opinion is needed."""
        replies = seen.replies
        sent: list[tuple[Probe, Sent]] = [(probe, trial.sent(probe)) for probe in seen.sent]
        sent += [(probe, "again") for probe in seen.sent if probe.index in replies.again]
        results = [integrity.judge_probe(probe, way, replies, bound, trial.pair) for probe, way in sent]
        doubtful = [result for result in results if result.outcome in ("far", "diverged")]
        if 0 < len(doubtful) <= self.session.settings.probes.second_opinions:
            self.phases.begin("second opinion", len(doubtful))
            results = [
                self._reconsider(result, trial, seen, bound) if result in doubtful else result
                for result in results
            ]
        first = [result for result in results if result.sent != "again"]
        return first, [result for result in results if result.sent == "again"]

    def _reconsider(self, result: ProbeResult, trial: Trial, seen: ProbeRun, bound: float) -> ProbeResult:
        probe = next(probe for probe in seen.sent if probe.index == result.index)
        opinion = reconsider(self.session, probe, result, seen.replies, bound)
        if opinion is result:
            most = self.session.settings.limits_for(trial.dtype).most_position
            opinion = judge_by_own_noise(self.session, probe, result, seen.replies, most)
        self.phases.step("second opinion")
        return opinion

    def _connectivity(self, trial: Trial, seen: ProbeRun, bound: float) -> list[Check]:
        answers, settings, model = seen.answers, self.session.settings, self.session.plan.model
        prefill = trial.engines[self.session.prefills[0].name]
        counted = len(prefill.tokens["the document's prompt"])
        checks = [connectivity.document_check(answers.document, settings.request, model, counted)]
        for kind in answers.streamed:
            plain, streamed = answers.plain[kind], answers.streamed[kind]
            checks.append(connectivity.plain_check(kind, plain, model, settings.short.max_tokens))
            checks.append(connectivity.stream_check(kind, plain, streamed, bound))
        if trial.no_chat:
            text = f"the engines take no chat, so none was sent: {trial.no_chat}"
            checks += [skipped(f"connectivity.{name}", text) for name in ("chat", "chat_stream")]
        return checks

    def _expected(self, trial: Trial, seen: ProbeRun) -> ExpectedTransfer:
        kv_dtype = geometry.kv_dtype(self.session.plan.of("decode")[0].argv) or trial.dtype
        return ExpectedTransfer(
            prompt_tokens=[len(probe.tokens) for probe in seen.sent],
            wire_block=trial.pair[0].wire_block_size,
            token_bytes=geometry.bytes_per_token(trial.config, kv_dtype) if trial.config else None,
            layers=geometry.layers_of(trial.config) if trial.config else None,
        )


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
