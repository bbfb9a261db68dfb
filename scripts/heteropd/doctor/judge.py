"""Applies the checks and says where each result belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from heteropd.config.checks import Checks, tier
from heteropd.doctor import (  # noqa: F401 - most register checks
    accelerators,
    fabric,
    host,
    pair_checks,
    pair_fabric,
    running,
    software,
    targets,
)
from heteropd.doctor.catalogue import NODE, PAIR, TOPOLOGY
from heteropd.doctor.model import ExaminedHost, ExaminedPair, Outcome, Result, Running

_ANSWERS = "T2-50-host-answers"


def node(one: ExaminedHost, checks: Checks) -> list[Result]:
    """Every check of one host."""
    return [
        _result(name, one.target.name, _node(name, one, checks), checks)
        for name in checks.checks
        if tier(name) == "node"
    ]


def pair(found: ExaminedPair, checks: Checks) -> list[Result]:
    """Every check of two hosts that exchange KV."""
    one, other = found.one, found.other
    place = f"{one.target.name} and {other.target.name}"
    both = one.platforms | other.platforms
    verbs = one.verbs or other.verbs

    def judge(name: str) -> Outcome:
        unread = next((side.target.name for side in (one, other) if side.facts.trouble), None)
        if unread:
            return Outcome("SKIP", f"the facts of {unread} could not be read")
        return _unless_elsewhere(name, both, verbs, checks, lambda: PAIR[name](found))

    return [_result(name, place, judge(name), checks) for name in checks.checks if tier(name) == "pair"]


def topology(found: Running, checks: Checks) -> list[Result]:
    """Every check of a running topology."""
    platforms = frozenset(role.runs_on for role in found.plan.engines)
    verbs = any(targets.engine(role).verbs for role in found.plan.engines)

    def judge(name: str) -> Outcome:
        return _unless_elsewhere(name, platforms, verbs, checks, lambda: TOPOLOGY[name](found))

    place = f"{found.plan.case}, running"
    return [_result(name, place, judge(name), checks) for name in checks.checks if tier(name) == "topology"]


def _node(name: str, one: ExaminedHost, checks: Checks) -> Outcome:
    if name == _ANSWERS:
        return NODE[name](one)
    if one.facts.trouble:
        return Outcome("SKIP", "the host's facts could not be read")
    return _unless_elsewhere(name, one.platforms, one.verbs, checks, lambda: NODE[name](one))


def _unless_elsewhere(
    name: str, platforms: Iterable[str], verbs: bool, checks: Checks, look: Callable[[], Outcome]
) -> Outcome:
    found, entry = frozenset(platforms), checks.checks[name]
    if verbs if entry.verbs else not found.isdisjoint(entry.platforms):
        return look()
    if found == {"router"}:
        return Outcome("SKIP", "no engine runs here, only the router")
    if found == {"cpu"}:
        # What is absent is said all the same: nobody should have to guess what the hardware would need.
        absent = look() if entry.verbs else None
        lacks = absent.text if absent and absent.status == "FAIL" else "runs on cpu"
        return Outcome("SKIP", f"{lacks}: a stand-in does not need it")
    if entry.verbs:
        return Outcome("SKIP", "no engine here names RDMA in UCX_TLS")
    return Outcome("SKIP", f"not for {', '.join(sorted(found))}")


def _result(name: str, place: str, outcome: Outcome, checks: Checks) -> Result:
    entry = checks.checks[name]
    bad = outcome.status in ("FAIL", "WARN")
    return Result(
        check=name,
        place=place,
        status=outcome.status,
        text=outcome.text,
        fix=entry.fix if bad else None,
        threads=tuple(entry.threads) if bad else (),
    )
