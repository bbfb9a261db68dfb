"""Applies the checks and says where each result belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from heteropd.preflight import accelerators, fabric, host, pairs, running  # noqa: F401 - they register checks
from heteropd.preflight.catalogue import NODE, PAIR, TOPOLOGY
from heteropd.preflight.model import Node, Outcome, Result, Running
from heteropd.spec.checks import Checks, tier

_ANSWERS = "T2-50-host-answers"


def node(one: Node, checks: Checks) -> list[Result]:
    """Every check of one host."""
    return [
        _result(name, one.target.name, _node(name, one, checks), checks)
        for name in checks.checks
        if tier(name) == "node"
    ]


def pair(one: Node, other: Node, checks: Checks) -> list[Result]:
    """Every check of two hosts that exchange KV."""
    place = f"{one.target.name} and {other.target.name}"
    both = one.platforms | other.platforms

    def judge(name: str) -> Outcome:
        unread = next((side.target.name for side in (one, other) if side.facts.trouble), None)
        if unread:
            return Outcome("SKIP", f"the facts of {unread} could not be read")
        return _unless_elsewhere(name, both, checks, lambda: PAIR[name](one, other))

    return [_result(name, place, judge(name), checks) for name in checks.checks if tier(name) == "pair"]


def topology(found: Running, checks: Checks) -> list[Result]:
    """Every check of a running topology."""
    platforms = frozenset(role.runs_on for role in found.plan.engines)

    def judge(name: str) -> Outcome:
        return _unless_elsewhere(name, platforms, checks, lambda: TOPOLOGY[name](found))

    place = f"{found.plan.case}, running"
    return [_result(name, place, judge(name), checks) for name in checks.checks if tier(name) == "topology"]


def _node(name: str, one: Node, checks: Checks) -> Outcome:
    if name == _ANSWERS:
        return NODE[name](one)
    if one.facts.trouble:
        return Outcome("SKIP", "the host's facts could not be read")
    return _unless_elsewhere(name, one.platforms, checks, lambda: NODE[name](one))


def _unless_elsewhere(
    name: str, platforms: Iterable[str], checks: Checks, look: Callable[[], Outcome]
) -> Outcome:
    found = frozenset(platforms)
    if not found.isdisjoint(checks.checks[name].platforms):
        return look()
    if found == {"router"}:
        return Outcome("SKIP", "no engine runs here, only the router")
    if found == {"cpu"}:
        return Outcome("SKIP", "runs on cpu: a stand-in does not need it")
    return Outcome("SKIP", f"not for {', '.join(sorted(found))}")


def _result(name: str, place: str, outcome: Outcome, checks: Checks) -> Result:
    entry = checks.checks[name]
    bad = outcome.status in ("FAIL", "WARN")
    return Result(
        check=name,
        place=place,
        status=outcome.status,
        text=outcome.text,
        mend=entry.mend if bad else None,
        threads=tuple(entry.threads) if bad else (),
    )
