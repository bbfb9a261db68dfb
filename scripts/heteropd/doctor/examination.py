"""The doctor: reads all hosts side by side, applies the checks, and shows what was found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from heteropd.config.checks import Checks, HostLimits
from heteropd.console.findings import for_programs, show_findings, summary
from heteropd.doctor import exchange, launch, nixl, targets
from heteropd.doctor.judge import judge_host, judge_pair, judge_topology
from heteropd.doctor.model import EngineTarget, ExaminedHost, ExaminedPair, HostTarget, Running
from heteropd.doctor.probe import Reader, read_facts
from heteropd.doctor.reach import Outside
from heteropd.doctor.software import untried
from heteropd.findings import Finding
from heteropd.plan.model import Plan
from heteropd.plan.pairs import Names, rounds
from heteropd.system import parallel_map

_AT_ONCE = 32
_PROGRAM_S, _TIMEOUT_S = 60, 75.0


@dataclass(frozen=True)
class DoctorReport:
    """All findings, in the order in which they were made; ``left_out`` says what was not tried for the
    number of it."""

    findings: tuple[Finding, ...]
    left_out: str = ""

    @property
    def ok(self) -> bool:
        return all(finding.status != "FAIL" for finding in self.findings)

    @property
    def summary(self) -> str:
        return summary(self.findings)

    def to_json(self) -> str:
        """The report for programs."""
        left_out = {"left_out": self.left_out} if self.left_out else {}
        results = [for_programs(finding) for finding in self.findings]
        return json.dumps({"ok": self.ok, "results": results, **left_out}, indent=2)

    def show(self, console: Console, *, everything: bool = False, passed: bool = True) -> None:
        """Print what is wrong first, with its fix; without ``everything``, SKIPs are only counted."""
        show_findings(self.findings, console, everything=everything, passed=passed, how="all=1")
        if self.left_out:
            console.print(Text(self.left_out))
        console.print(Text(f"doctor: {self.summary}"))


def examine(
    hosts: Sequence[HostTarget],
    checks: Checks,
    plan: Plan | None = None,
    running: Running | None = None,
    outside: Outside | None = None,
) -> DoctorReport:
    """Read every host at the same time, then judge hosts, pairs of the plan, and what runs."""
    outside = outside or Outside()
    reach = outside.reach
    read = parallel_map(lambda target: read_host(target, reach(target), checks.limits), hosts, _AT_ONCE)
    examined = {host.target.name: host for host in read}
    findings = [finding for host in examined.values() for finding in judge_host(host, checks)]
    names, known = targets.pairs(plan) if plan else ([], 0)
    sent = _exchanged(names, examined, outside)
    findings += [finding for pair in sent for finding in judge_pair(pair, checks)]
    if running:
        findings += judge_topology(running, checks)
    return DoctorReport(tuple(findings), _left_out(names, known))


def read_host(target: HostTarget, reader: Reader, limits: HostLimits) -> ExaminedHost:
    """The host's facts, and NIXL in the place of each engine that differs. Never raises."""
    facts = read_facts(reader, target.model, docker=target.docker_url)
    bare = ExaminedHost(target, facts, limits)
    if facts.trouble or untried(bare):
        return bare
    different: dict[tuple[object, ...], EngineTarget] = {}
    for engine in target.engines:
        if engine.python:
            different.setdefault((engine.launch, engine.python, *sorted(engine.env.items())), engine)
    readings = []
    for engine in different.values():
        argv = launch.nixl(engine, "nixl_node", {"seconds": _PROGRAM_S}, log="debug")
        readings.append(nixl.read(engine.name, nixl.report(reader.run(argv, timeout_s=_TIMEOUT_S))))
    return ExaminedHost(target, facts, limits, tuple(readings))


def _exchanged(
    pairs: list[Names], examined: Mapping[str, ExaminedHost], outside: Outside
) -> list[ExaminedPair]:
    """What every pair sent to each other, in the order of ``pairs``; side by side as far as hosts differ."""

    def between(names: Names) -> ExaminedPair:
        one, other = (examined[name] for name in names)
        return exchange.examine_pair(one, other, outside)

    found: dict[Names, ExaminedPair] = {}
    for together in rounds(pairs):
        found |= zip(together, parallel_map(between, together, _AT_ONCE), strict=True)
    return [found[names] for names in pairs]


def _left_out(tried: list[Names], known: int) -> str:
    if len(tried) == known:
        return ""
    words = f"{len(tried):,} of {known:,} pairs of hosts were tried, every host in one of them at least"
    return f"{words}; nothing was sent between the other {known - len(tried):,}"
