"""The load benchmark, start to end: verdict, both arms level by level, verdict, gate."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from heteropd.bench import cpu, pair, results
from heteropd.bench.children import Children, cpu_s, free_ports
from heteropd.bench.load import gate, traffic
from heteropd.bench.load.counting import Reading, evidence
from heteropd.bench.load.generator import Generator
from heteropd.bench.load.model import Arm, ArmName, Level, LoadResult, RequestResult, Validity, VerdictSummary
from heteropd.bench.load.watch import Watch, dead_roles
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config.bench import BenchSettings, LoadProfile
from heteropd.config.validation import load as load_validation
from heteropd.engine_api.client import AnswerProblem, Endpoint, EngineClient
from heteropd.errors import KitError
from heteropd.plan.environment import ENGINE_BIN
from heteropd.plan.model import Plan
from heteropd.plan.template import fill_all
from heteropd.proof.command import fresh_verdict, judge
from heteropd.proof.session import ProbeSession, Stalled
from heteropd.proof.verdict import Verdict
from heteropd.topology import Context, Topology

_FILE, _ANSWER_LIMIT_S = "env/bench.yaml", 60.0
# Longest that a level may take, for each of its requests: far beyond what a CPU needs.
_REQUEST_LIMIT_S = 120.0
_TRIES = 3
_ARRIVALS = 10  # mean times between two requests that no random gap between them reaches
_ARMS: dict[ArmName, str] = {
    "pd": "{prefill} prefill and {decode} decode, through the topology's router",
    "aggregated": "{prefill} and {decode} each serve whole requests in turns, through a router like it",
}


def run(
    settings: BenchSettings, topology: Topology, context: Context, prepare: Callable[[], Any]
) -> LoadResult:
    """Load the running topology and judge what came of it.

    Raises KitError where nothing could be measured; what is measured and worthless is an invalid result.
    """
    clock = context.clock
    workspace = BenchWorkspace(
        context.root, context.runner, clock, context.console, clock.now(), context.state_dir
    )
    started = clock.wall()
    before = fresh_verdict(topology, context, settings.load.verdict_age_s)
    with workspace.step("the verdict before: kept, and fresh" if before else "the verdict before"):
        before = before or judge(topology, context)
    prepare()
    with ExitStack() as stack:
        try:
            session = LoadSession.start(settings, topology, before, workspace, stack)
        except AnswerProblem as problem:
            raise KitError(f"bench: {problem}") from None
        arms, broke_off = session.measure()
    after = None
    if broke_off is None:
        with workspace.step("the verdict after"):
            after = judge(topology, context)
    return session.conclude(arms, before, after, started, broke_off)


@dataclass(frozen=True)
class LoadSession:
    """What is running, and how to load it."""

    profile_name: str
    profile: LoadProfile
    topology: Topology
    slot: tuple[int, int | None]
    words: list[str]
    urls: dict[ArmName, str]
    engines: list[Endpoint]
    probe: ProbeSession
    generator: Generator
    workspace: BenchWorkspace
    children: Children

    @classmethod
    def start(
        cls,
        settings: BenchSettings,
        topology: Topology,
        before: Verdict,
        workspace: BenchWorkspace,
        stack: ExitStack,
    ) -> "LoadSession":
        """Start guidellm, and the router of the aggregated arm; ``stack`` ends them. Raises KitError."""
        children = stack.enter_context(Children("load-run", workspace))
        client = stack.enter_context(EngineClient())
        plan = topology.plan
        port, metrics_port = free_ports(2)
        fields: dict[str, str | int] = {
            "bin": f"{workspace.places()[ENGINE_BIN]}/",
            "port": port,
            "metrics_port": metrics_port,
        }
        argv = [*fill_all(settings.plain_router, fields, _FILE), *(role.url for role in plan.engines)]
        plain = f"http://127.0.0.1:{port}"
        with workspace.step("starting guidellm, and a router of whole requests"):
            children.start("plain-router", argv)
            request = {"model": plan.model, "prompt": "Hello", "max_tokens": 1}
            pair.until_answering(plain, request, children)
            generator = Generator.start(workspace, children)
        validation = load_validation(workspace.root)
        probe = ProbeSession(plan, validation, workspace.clock, None)
        stack.callback(probe.close)
        return cls(
            profile_name=settings.load.profile,
            profile=settings.load_profile(),
            topology=topology,
            slot=_slot(plan, before),
            words=validation.words,
            urls={"pd": topology.url, "aggregated": plain},
            engines=[Endpoint(client, role.name, role.url, _ANSWER_LIMIT_S) for role in plan.engines],
            probe=probe,
            generator=generator,
            workspace=workspace,
            children=children,
        )

    def measure(self) -> tuple[list[Arm], str | None]:
        """Every level of both arms, in turns: a drift of the machine favours neither. And why the load broke
        off with what was measured until then; None where it did not."""
        levels: dict[ArmName, list[Level]] = {"pd": [], "aggregated": []}
        broke_off, where = None, ""
        try:
            for number, value in enumerate(self.profile.levels):
                for name in levels if number % 2 == 0 else reversed(levels):
                    unit = "clients" if self.profile.mode == "concurrent" else "requests/s"
                    with self.workspace.step(where := f"{name}: {value:g} {unit}"):
                        levels[name].append(self.level(name, value))
        except (KitError, AnswerProblem, Stalled) as problem:
            broke_off = f"{where}: {dead_roles(self.topology) or problem}"
            self.workspace.say(f"breaking off: {broke_off}")
        return self._arms(levels), broke_off

    def _arms(self, levels: dict[ArmName, list[Level]]) -> list[Arm]:
        plan = self.topology.plan
        names = {side: ", ".join(role.name for role in plan.of(side)) for side in ("prefill", "decode")}
        cores = sorted({core for role in plan.engines for core in role.cores})
        return [
            Arm(name=name, description=_ARMS[name].format(**names), cores=len(cores) or None, levels=found)
            for name, found in levels.items()
        ]

    def conclude(
        self,
        arms: list[Arm],
        before: Verdict,
        after: Verdict | None,
        started: datetime,
        broke_off: str | None = None,
    ) -> LoadResult:
        """The result, with what the gate says of it."""
        plan = self.topology.plan
        result = LoadResult(
            started=started,
            seconds=self.workspace.clock.now() - self.workspace.began,
            case=plan.case,
            model=plan.model,
            fingerprint=self.topology.fingerprint,
            standin=plan.standin,
            note=before.note,
            engines=_engines(plan, before),
            machine=results.machine(),
            generator={"name": "guidellm", "version": self.generator.version},
            profile_name=self.profile_name,
            profile=self.profile,
            verdicts={"before": _summary(before), "after": after and _summary(after)},
            validity=Validity(),
            broke_off=broke_off,
            arms=arms,
        )
        return result.model_copy(update={"validity": gate.judge(result), "caveats": gate.caveats(result)})

    def level(self, name: ArmName, value: float) -> Level:
        """One arm at one concurrency or rate; anew where guidellm leaves out a request that was answered.

        Raises KitError, AnswerProblem, Stalled.
        """
        for attempt in range(_TRIES):
            level = self._measured(name, value, f"{name} {value} {attempt}")
            if len(level.requests) == self.profile.requests:
                break
            self.workspace.say(f"guidellm reports {len(level.requests)} of {self.profile.requests} requests")
        return level

    def _measured(self, name: ArmName, value: float, seed: str) -> Level:
        plan, profile, clock = self.topology.plan, self.profile, self.workspace.clock
        seeds = (seed, f"{seed} {clock.wall()}")
        rows = traffic.rows(self.engines[0], plan.model, self.words, profile, seeds)
        scenario = traffic.scenario(self.urls[name], plan.model, profile, value, rows)
        before, started = Reading.settled(self.engines, plan, clock), clock.wall()
        machine, own, engines, began = cpu.busy_s(), cpu.own_s(self.children), self._engines_s(), clock.now()
        quiet_s = self.probe.settings.waits.stall_s + (_ARRIVALS / value if profile.mode == "poisson" else 0)
        watch = Watch(self.topology, self.probe, quiet_s)
        found = self.generator.run(f"{name}-{value:g}", scenario, _REQUEST_LIMIT_S * len(rows), watch)
        span, engines = clock.now() - began, self._engines_s() - engines
        own, machine = cpu.own_s(self.children) - own, cpu.busy_s() - machine
        after = Reading.settled(self.engines, plan, clock)
        requests, seconds = requests_of(found)
        return Level(
            value=value,
            started=started,
            seconds=seconds,
            requests=requests,
            objective=profile.objective,
            kv=evidence(before, after, requests, self.slot if name == "pd" else None),
            cores_engines=engines / span if engines else None,
            cores_others=max(0.0, machine - own - engines) / span,
        )

    def _engines_s(self) -> float:
        """CPU seconds of the topology's roles on this machine, so far."""
        return cpu_s(pid for role in self.topology.roles for pid in role.tops())


def requests_of(found: list[dict[str, Any]]) -> tuple[list[RequestResult], float]:
    """guidellm's requests in the order of their starts, and seconds from the first start to the last end."""
    timed = sorted(found, key=lambda request: request["start"] or request["end"])
    if not timed:
        return [], 0.0
    first = timed[0]["start"] or timed[0]["end"]
    requests = [
        RequestResult(started_s=(request["start"] or request["end"]) - first, **request) for request in timed
    ]
    return requests, max(request["end"] for request in timed) - first


def _slot(plan: Plan, verdict: Verdict) -> tuple[int, int | None]:
    """Tokens of a block as it travels, and bytes of a token, by which the verdict counted too."""
    counted = next((check.evidence for check in verdict.checks if check.id == "kv_transfer.bytes"), {})
    size, geometry = counted.get("bytes_a_token"), plan.of("prefill")[0].kv
    return geometry.wire_block_size if geometry else 1, size if isinstance(size, int) else None


def _engines(plan: Plan, verdict: Verdict) -> dict[str, dict[str, Any]]:
    return {
        role.name: {
            "role": role.role,
            "platform": role.platform,
            "runs_on": role.runs_on,
            "standin": role.standin,
            "version": verdict.versions.get(role.name),
            "kv_layout": role.kv.layout if role.kv else None,
            "block_size": role.kv.block_size if role.kv else None,
            "cores": role.cores,
            "here": role.host.ssh is None,
        }
        for role in plan.engines
    }


def _summary(verdict: Verdict) -> VerdictSummary:
    return VerdictSummary(
        result=verdict.result,
        headline=verdict.headline(),
        started_at=verdict.started_at,
        seconds=verdict.seconds,
        failures=[f"{check.id}: {check.text}" for check in verdict.failures()],
    )
