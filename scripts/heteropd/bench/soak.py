"""Soak: steady traffic through what runs, known answers among it, the memory of every process, a verdict.

What only shows after a while: memory that grows, leases that expire, engines that restart, answers that turn.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from uuid import uuid4

from heteropd import topology as topologies
from heteropd.bench import results
from heteropd.bench.children import memory_mib
from heteropd.bench.load.counting import Reading
from heteropd.bench.load.gate import NEVER
from heteropd.bench.soak_findings import finding, findings_of
from heteropd.bench.soak_page import render_page
from heteropd.bench.soak_result import Sample, SoakResult
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import bench
from heteropd.config.bench import SoakSettings
from heteropd.config.validation import load as load_validation
from heteropd.console.findings import show_findings, summary
from heteropd.console.width import console
from heteropd.engine_api.client import AnswerProblem, Endpoint, EngineClient
from heteropd.engine_api.requests import Json
from heteropd.engine_api.responses import text_of
from heteropd.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, KitError
from heteropd.findings import Finding
from heteropd.proof.command import judge, measuring
from heteropd.system import Clock
from heteropd.topology import Context, Topology

_ANSWER_LIMIT_S = 120.0
_PROBLEMS, _PAUSE_S = 20, 0.5


@dataclass
class Traffic:
    """Clients in a closed loop through the router, until ``ends``. Counts are of all of them together."""

    engine: Endpoint
    model: str
    settings: SoakSettings
    words: Sequence[int]
    known: Mapping[tuple[int, ...], str]
    clock: Clock
    ends: float
    requests: int = 0
    failed: int = 0
    asked: int = 0
    differs: int = 0
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, seed: int) -> None:
        """One client."""
        random = Random(seed)  # noqa: S311 - not a secret
        while self.clock.now() < self.ends:
            known = random.random() < self.settings.known_share
            prompt = random.choice(list(self.known)) if known else tuple(self._prompt(random))
            try:
                text: str | None = complete(self.engine, self.model, prompt, self.settings.output_tokens)
            except AnswerProblem as problem:
                if self.interrupted:
                    return
                text = None
                with self._lock:
                    self.problems = [*self.problems, str(problem)][:_PROBLEMS]
                self.clock.sleep(_PAUSE_S)  # a router that is gone refuses thousands a second
            with self._lock:
                self.requests += 1
                self.failed += text is None
                self.asked += known
                self.differs += known and text is not None and text != self.known[prompt]

    def _prompt(self, random: Random) -> list[int]:
        return random.choices(self.words, k=random.randint(self.settings.shortest, self.settings.longest))


def complete(engine: Endpoint, model: str, prompt: Sequence[int], tokens: int) -> str:
    """The greedy answer. Raises `AnswerProblem` for none, or for one of another length."""
    body: Json = {"model": model, "prompt": list(prompt), "max_tokens": tokens, "temperature": 0}
    answer = engine.post("/v1/completions", {**body, "ignore_eos": True, "cache_salt": uuid4().hex})
    made = (answer.get("usage") or {}).get("completion_tokens")
    if made != tokens:
        raise AnswerProblem(f"{engine.name}: an answer of {made} tokens, not {tokens}")
    return text_of(answer)


def run(given: Mapping[str, str | bool], context: Context) -> int:
    """Soak what runs; write .heteropd/bench/soak-TIME.json, print findings. 0, or 1 where one is FAIL.

    An interrupted one writes what it has, as a FAIL, and the status is 130.

    Raises BadInput while another command is at work on the topology, MissingPrerequisite where nothing runs.
    """
    settings = bench.changed(bench.load(context.root).soak, given)
    with measuring(context, "soak"):
        return _run(settings, context)


def _run(settings: SoakSettings, context: Context) -> int:
    clock, running = context.clock, topologies.running(context)
    workspace = BenchWorkspace(
        context.root, context.runner, clock, context.console, clock.now(), context.state_dir
    )
    started = clock.wall()
    try:
        samples, traffic, counted = soak(settings, running, workspace)
    except AnswerProblem as problem:
        raise KitError(f"soak: {problem}") from None
    findings = findings_of(samples, counted, settings, interrupted=traffic.interrupted)
    try:
        findings += [] if traffic.interrupted else _afterwards(running, context, workspace)
    except KeyboardInterrupt:
        traffic.interrupted = True
    if traffic.interrupted:
        text = f"interrupted after {samples[-1].at_s / 60:.1f} of {settings.minutes:g} minutes: no verdict"
        findings.append(finding("soak.interrupted", False, text, {}))
    result = SoakResult(
        started=started,
        seconds=clock.now() - workspace.began,
        case=running.plan.case,
        standin=running.plan.standin,
        machine=results.machine(),
        settings=settings,
        samples=samples,
        problems=traffic.problems,
        findings=findings,
    )
    path, terminal = results.write(result, context.state_dir / "bench"), console()
    page = path.with_suffix(".html")
    page.write_text(render_page(result), encoding="utf-8")
    show_findings(findings, terminal)
    word = "PASS" if result.passed else "FAIL"
    terminal.print(f"{word} soak of {settings.minutes:g} minutes: {summary(findings)}; written: {page}")
    if traffic.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_OK if result.passed else EXIT_FAILED


def _afterwards(running: Topology, context: Context, workspace: BenchWorkspace) -> list[Finding]:
    """Whether every role runs, as it was started, and the verdict."""
    dead = ", ".join(running.dead())
    with workspace.step("the verdict after"):
        verdict = None if dead else judge(running, context)
    text = verdict.headline() if verdict else "none: not every role runs"
    return [
        finding("soak.roles", not dead, f"dead: {dead}" if dead else "every role runs", {}),
        finding("soak.restarts", topologies.load(context) == running, "no role was restarted", {}),
        finding("soak.verdict", verdict is not None and verdict.passed, text, {}),
    ]


def soak(
    settings: SoakSettings, running: Topology, workspace: BenchWorkspace
) -> tuple[list[Sample], Traffic, dict[str, int] | None]:
    """Send for as long as the settings say and every role lives, and look every so often; what was counted
    is None where an engine does not say it any more, or an interrupt ended it: `Traffic.interrupted`.
    Raises `AnswerProblem` before the first request."""
    plan, clock = running.plan, workspace.clock
    with EngineClient() as client:
        endpoint = partial(Endpoint, client, limit_s=_ANSWER_LIMIT_S)
        engines = [endpoint(role.name, role.url) for role in plan.engines]
        decode, router = engines[-1], endpoint("router", running.url)
        text = " ".join(load_validation(workspace.root).words)
        words = sorted(set(decode.tokenize(plan.model, text, special=False)))
        with workspace.step("asking the decode alone for the known answers"):
            known = _known(decode, plan.model, words, settings)
        before, began = Reading.take(engines, plan), clock.now()
        ends = began + settings.minutes * 60
        traffic = Traffic(router, plan.model, settings, words, known, clock, ends)
        threads = [
            threading.Thread(target=traffic.client, args=(seed,), daemon=True)
            for seed in range(settings.clients)
        ]
        samples: list[Sample] = []
        with workspace.step(f"{settings.clients} clients for {settings.minutes:g} minutes"):
            for thread in threads:
                thread.start()
            try:
                while clock.now() < ends and not (samples and running.dead()):
                    clock.sleep(min(settings.sample_s, max(0.0, ends - clock.now())))
                    samples.append(_sample(running, traffic, clock.now() - began))
                traffic.ends = clock.now()
                for thread in threads:
                    thread.join()
            except KeyboardInterrupt:  # answers under way may take longer than we are given
                traffic.interrupted, traffic.ends = True, clock.now()
                samples.append(_sample(running, traffic, clock.now() - began))
                return samples, traffic, None
        try:
            after = Reading.settled(engines, plan, clock)
        except AnswerProblem:
            return samples, traffic, None
    sides = [(after.prefill, before.prefill), (after.decode, before.decode)]
    moved = [now.since(then) for now, then in sides]
    return samples, traffic, {name: sum(side[name] or 0 for side in moved) for name in NEVER}


def _known(
    decode: Endpoint, model: str, words: Sequence[int], settings: SoakSettings
) -> dict[tuple[int, ...], str]:
    random, count = Random(0), settings.known  # noqa: S311 - not a secret
    span = settings.longest - settings.shortest
    sizes = [settings.shortest + span * number // max(1, count - 1) for number in range(count)]
    prompts = [tuple(random.choices(words, k=size)) for size in sizes]
    return {prompt: complete(decode, model, prompt, settings.output_tokens) for prompt in prompts}


def _sample(running: Topology, traffic: Traffic, at_s: float) -> Sample:
    memory = {role.name: memory_mib(role.tops()) or None for role in running.roles}
    return Sample(
        at_s=at_s,
        memory_mib=memory,
        requests=traffic.requests,
        failed=traffic.failed,
        known=traffic.asked,
        differs=traffic.differs,
    )
