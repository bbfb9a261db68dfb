"""What a rule sees: the rendered plan, so that a user's additions count."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, cast

from heteropd.config.env import Env
from heteropd.config.hosts import Host
from heteropd.config.pins import Pins, Variant
from heteropd.config.platforms import Platform
from heteropd.config.request import PRECEDENCE, PlanRequest
from heteropd.config.types import PlatformName
from heteropd.findings import Finding
from heteropd.plan.arguments import EngineArguments, engine_words, parse
from heteropd.plan.engines import KV_TRANSFER
from heteropd.plan.model import KVGeometry, Plan, RolePlan

# What differs between engines of a role without a meaning for whom they exchange KV with.
_OF_ITS_PLACE = ("--port", "--host")


def broken(place: str, field: str, value: object, problem: str, fix: str) -> Finding:
    """How a plan breaks a rule, which adds its id: the file, the field and value there, and the fix."""
    plain = isinstance(value, str | int | float) or value is None
    whole = isinstance(value, list) and all(isinstance(entry, int) for entry in value)
    shown: Any = value if plain or whole else str(value)
    return Finding(
        id="", status="FAIL", place=place, text=problem, fix=fix, evidence={"field": field, "value": shown}
    )


@dataclass(frozen=True)
class PlannedEngine:
    """One engine of the plan as its program will see it. ``where``: the file that says what is odd in it."""

    plan: RolePlan
    platform: Platform
    where: str
    arguments: EngineArguments

    @property
    def role(self) -> str:
        return self.plan.role

    @property
    def platform_name(self) -> PlatformName:
        return cast(PlatformName, self.plan.runs_on)

    @property
    def kv(self) -> KVGeometry:
        assert self.plan.kv is not None, "every engine has a KV cache"
        return self.plan.kv

    @cached_property
    def kv_transfer(self) -> dict[str, Any] | None:
        """The connector's configuration, or None where it is not a JSON object (rule P44 says so)."""
        config = self.arguments.json(KV_TRANSFER)
        return config if isinstance(config, dict) else None

    @property
    def kv_extra(self) -> dict[str, Any]:
        extra = (self.kv_transfer or {}).get("kv_connector_extra_config")
        return extra if isinstance(extra, dict) else {}

    @property
    def prefix_caching(self) -> bool:
        """Whether it keeps a prefix cache."""
        return self.arguments.is_on("--enable-prefix-caching", default=True)

    @property
    def kind(self) -> Hashable:
        """All that counts for whom it can exchange KV with. Engines of a role differ in places and ports, and
        in this only where somebody made them differ."""
        plan, given = self.plan, self.arguments.given
        options = tuple(sorted((name, given[name]) for name in given if name not in _OF_ITS_PLACE))
        return plan.platform, plan.runs_on, plan.kv, options

    def env_finding(self, name: str, problem: str, fix: str) -> Finding:
        """A finding about one of the engine's variables."""
        return broken(self.where, f"{self.plan.name} {name}", self.plan.env.get(name), problem, fix)

    def option_finding(self, name: str, value: object, problem: str, fix: str) -> Finding:
        """A finding about one of the engine's options."""
        return broken(self.where, f"{self.plan.name} {name}", value, problem, fix)


@dataclass(frozen=True)
class RuleContext:
    """A rendered plan beside what it was rendered from."""

    plan: Plan
    request: PlanRequest
    env: Env

    @property
    def pins(self) -> Pins:
        return self.env.pins[self.plan.pins]

    def pins_of(self, engine: PlannedEngine) -> Pins:
        """What an engine is made from: a stand-in beside real engines from the stand-ins' own."""
        return self.pins if engine.platform_name in self.pins.platforms else self.env.standin

    @property
    def variant(self) -> Variant:
        return self.pins.variants[self.plan.variant]

    @property
    def pins_file(self) -> str:
        return f"env/pins/{self.plan.pins}.yaml"

    @property
    def hosts_file(self) -> str:
        return self.request.hosts_file or "hosts"

    @cached_property
    def engines(self) -> list[PlannedEngine]:
        return [self._engine(role) for role in self.plan.engines]

    @cached_property
    def pairs(self) -> list[tuple[PlannedEngine, PlannedEngine]]:
        """Every prefill with every decode, engines of one kind counting once: 500 of each are one pair."""
        kinds: dict[str, dict[Hashable, PlannedEngine]] = {"prefill": {}, "decode": {}}
        for engine in self.engines:
            kinds[engine.role].setdefault(engine.kind, engine)
        return list(product(kinds["prefill"].values(), kinds["decode"].values()))

    def host(self, engine: PlannedEngine) -> Host | None:
        """What the hosts file says of the engine's host."""
        return self.request.hosts.hosts[engine.plan.host.name] if self.request.hosts else None

    def on(self, platform: str) -> list[PlannedEngine]:
        """The engines that really run on a platform (a stand-in runs on cpu)."""
        return [engine for engine in self.engines if engine.plan.runs_on == platform]

    def parameter(self, name: str, problem: str, fix: str) -> Finding:
        """A finding about one of the user's parameters."""
        value = getattr(self.request.parameters, name)
        return broken(self.request.origins[name], name, value, problem, fix)

    def blame(self, *names: str) -> str:
        """Of parameters that do not go together, the one that was given closest to the user."""
        return max(reversed(names), key=lambda name: PRECEDENCE.index(self.request.layers[name]))

    def _engine(self, role: RolePlan) -> PlannedEngine:
        hosts, where = self.request.hosts, f"env/platforms/{role.runs_on}.yaml"
        if hosts and self.request.hosts_file:
            host = hosts.hosts[role.host.name]
            if role.role in hosts.roles.given() or host.env or host.engines:
                where = self.request.hosts_file
        arguments = parse(engine_words(role.argv), self.env.vllm_options)
        return PlannedEngine(role, self.env.platforms[role.runs_on], where, arguments)


Check = Callable[..., Finding | None]
Subjects = Callable[[RuleContext], Iterable[tuple[PlannedEngine, ...]]]
CHECKS: dict[str, Callable[[RuleContext], Finding | None]] = {}
"""What looks for plans that break a rule, by the rule's id."""


def plan(_context: RuleContext) -> Iterable[tuple[PlannedEngine, ...]]:
    """A rule that looks at the plan as a whole."""
    return [()]


def engines(context: RuleContext) -> Iterable[tuple[PlannedEngine, ...]]:
    """A rule that looks at every engine."""
    return ((engine,) for engine in context.engines)


def pairs(context: RuleContext) -> Iterable[tuple[PlannedEngine, ...]]:
    """A rule that looks at every prefill and decode that may exchange KV."""
    return context.pairs


def rule(name: str, of: Subjects = plan) -> Callable[[Check], Check]:
    """The check of a rule: asked with the context and each of its subjects, up to the first finding."""

    def register(check: Check) -> Check:
        CHECKS[name] = lambda context: first(check(context, *subject) for subject in of(context))
        return check

    return register


def first(findings: Iterable[Finding | None]) -> Finding | None:
    """The first that there is."""
    return next((finding for finding in findings if finding), None)
