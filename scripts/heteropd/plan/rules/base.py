"""What a rule is, and what it sees: the rendered plan, so that a user's additions count."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal, cast

from heteropd.config.env import Env
from heteropd.config.hosts import Host
from heteropd.config.parameters import PRECEDENCE, PlanRequest
from heteropd.config.pins import Pins, Variant
from heteropd.config.platforms import Platform
from heteropd.config.types import PlatformName
from heteropd.plan.engines import TENSOR_PARALLEL
from heteropd.plan.model import KVGeometry, Plan, RolePlan

KV_TRANSFER = "--kv-transfer-config"


@dataclass(frozen=True)
class Finding:
    """Why a plan breaks a rule: the place, the field and value there, what is wrong, and the fix."""

    where: str
    field: str
    value: object
    problem: str
    fix: str


@dataclass(frozen=True)
class PlannedEngine:
    """One engine of the plan as its program will see it: the last of a repeated option counts."""

    plan: RolePlan
    platform: Platform
    where: str

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

    def option(self, name: str) -> str | None:
        """The value that the option ends up with, written ``--name value`` or ``--name=value``."""
        found = None
        for index, word in enumerate(self.plan.argv):
            if word == name and index + 1 < len(self.plan.argv):
                found = self.plan.argv[index + 1]
            elif word.startswith(f"{name}="):
                found = word.removeprefix(f"{name}=")
        return found

    def switched(self, on: str, off: str, default: bool) -> bool:
        """Whether a pair of flags ends up on."""
        state = default
        for word in self.plan.argv:
            state = {on: True, off: False}.get(word, state)
        return state

    @cached_property
    def kv_transfer(self) -> dict[str, Any] | None:
        """The connector's configuration, or None where it is not a JSON object (rule P44 says so)."""
        try:
            config = json.loads(self.option(KV_TRANSFER) or "")
        except ValueError:
            return None
        return config if isinstance(config, dict) else None

    @property
    def kv_extra(self) -> dict[str, Any]:
        extra = (self.kv_transfer or {}).get("kv_connector_extra_config")
        return extra if isinstance(extra, dict) else {}

    @property
    def prefix_caching(self) -> bool:
        """Whether it keeps a prefix cache."""
        return self.switched("--enable-prefix-caching", "--no-enable-prefix-caching", default=True)

    @property
    def ranks(self) -> int:
        """Devices that its model is split over."""
        said = self.option(TENSOR_PARALLEL) or "1"
        return int(said) if said.isdigit() else 1

    @property
    def kind(self) -> Hashable:
        """All that counts for whom it can exchange KV with. Engines of a role differ in places and ports,
        and in this only where somebody made them differ."""
        plan = self.plan
        return plan.platform, plan.runs_on, plan.kv, self.option(KV_TRANSFER), self.prefix_caching, self.ranks

    def env_finding(self, name: str, problem: str, fix: str) -> Finding:
        """A finding about one of the engine's variables."""
        return Finding(self.where, f"{self.plan.name} {name}", self.plan.env.get(name), problem, fix)

    def option_finding(self, name: str, value: object, problem: str, fix: str) -> Finding:
        """A finding about one of the engine's options."""
        return Finding(self.where, f"{self.plan.name} {name}", value, problem, fix)


@dataclass(frozen=True)
class RuleContext:
    """A rendered plan beside what it was rendered from."""

    plan: Plan
    request: PlanRequest
    env: Env

    @property
    def pins(self) -> Pins:
        return self.env.pins[self.plan.pins]

    @property
    def variant(self) -> Variant:
        return self.pins.variants[self.plan.variant]

    @property
    def pins_file(self) -> str:
        return f"env/pins/{self.plan.pins}.yaml"

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
        return Finding(self.request.origins[name], name, value, problem, fix)

    def blame(self, *names: str) -> str:
        """Of parameters that do not go together, the one that was given closest to the user."""
        return max(reversed(names), key=lambda name: PRECEDENCE.index(self.request.layers[name]))

    def _engine(self, role: RolePlan) -> PlannedEngine:
        additions = self.request.hosts.roles if self.request.hosts else {}
        where = f"env/platforms/{role.runs_on}.yaml"
        if role.role in additions and self.request.hosts_file:
            where = self.request.hosts_file
        return PlannedEngine(role, self.env.platforms[role.runs_on], where)


Check = Callable[[RuleContext], Finding | None]
PairCheck = Callable[[RuleContext, PlannedEngine, PlannedEngine], Finding | None]


def each_pair(check: PairCheck) -> Check:
    """The check for every prefill and decode that may exchange KV."""
    return lambda context: first([check(context, *pair) for pair in context.pairs])


@dataclass(frozen=True)
class Rule:
    """``refuse`` stops the plan, ``warn`` becomes a note; ``reference`` says where the failure is known."""

    id: str
    title: str
    severity: Literal["refuse", "warn"]
    reference: str
    check: Check


def first(findings: list[Finding | None]) -> Finding | None:
    """The first that was found."""
    return next((one for one in findings if one is not None), None)
