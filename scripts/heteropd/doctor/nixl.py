"""What NIXL and UCX said when they were started on a host: a program's report, and UCX's own lines."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heteropd import ucx
from heteropd.system import Completed

# "ucp_worker.c:1521 UCX  DEBUG created interface[1]=0x55ce using tcp/eth0 on worker 0x55ce"
_RESOURCE = re.compile(r"created interface\[\d+\]=\S+ using (\S+) on worker")
# "UCX  WARN  transports 'ib','rc' are not available, please use one or more of: …"
_MISSING = re.compile(r"UCX +WARN +transports? ('\S+) (?:is|are) not available")
# "ucp_worker.c:1997 UCX  INFO    a inter-node cfg#1 rma(rc_verbs/rxe0:1)  am(…)  ka(ud_verbs/rxe0:1)"
# or, from older versions, "ep_cfg[2]: rma(…)". What goes to the process itself ("self cfg#0") does not count.
_CONFIGURED = re.compile(r"UCX +INFO .*(?:\b(?:inter|intra)-node cfg#\d+|ep_cfg\[\d+\]:) (.*)$", re.MULTILINE)
_LANES = re.compile(r"\b(?:rma|rma_am|amo|amo_am|am|tag)\(([^)]*)\)")
_COMPLAINT = re.compile(r"UCX +(?:ERROR|WARN) +(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class ProgramReport:
    """A program's ``result``; None where there is none, and then ``trouble`` is why. ``log``: its stderr."""

    result: Mapping[str, Any] | None
    trouble: str = ""
    log: str = ""


@dataclass(frozen=True)
class NixlReading:
    """NIXL and UCX in an engine's place. ``trouble``: why nothing is known; ``missing``: no import of it.

    ``error`` is why there is no agent, ``resources`` what UCX offers (``rc_verbs/mlx5_0:1``), ``unknown`` the
    names of UCX_TLS that it does not offer, but for those of accelerators; ``opened`` the accelerators that
    the process held.
    """

    engine: str
    trouble: str | None = None
    missing: str | None = None
    error: str | None = None
    nixl: str | None = None
    ucx: str | None = None
    libraries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    resources: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()

    @property
    def wrong(self) -> str | None:
        """Why there is no agent."""
        return self.trouble or self.missing or self.error


def report(done: Completed) -> ProgramReport:
    """The program's line ``= JSON``, or why there is none."""
    for line in done.out.splitlines():
        if line.startswith("= "):
            try:
                return ProgramReport(json.loads(line[2:]), log=done.err)
            except ValueError:
                break
    if "No such image" in done.err:
        return ProgramReport(None, "its image is not on this host yet", done.err)
    last = (done.err.strip().splitlines() or ["it said nothing"])[-1]
    return ProgramReport(None, f"{last[-200:]} (exit status {done.code})", done.err)


def read(engine: str, reported: ProgramReport) -> NixlReading:
    """Facts from the report of programs/nixl_node.py."""
    result, log = reported.result, reported.log
    if result is None:
        return NixlReading(engine, trouble=reported.trouble)
    if "missing" in result:
        return NixlReading(engine, missing=str(result["missing"]))
    missing = [name.strip("'") for names in _MISSING.findall(log) for name in names.split(",")]
    return NixlReading(
        engine,
        error=f"{result['error']}{complaint(log)}" if result["error"] else None,
        nixl=result["nixl"],
        ucx=result["ucx"],
        libraries={name: tuple(files) for name, files in result["libraries"].items()},
        resources=frozenset(_RESOURCE.findall(log)),
        unknown=tuple(name for name in missing if not ucx.is_of_device(name)),
        opened=tuple(result["opened"]),
    )


def lanes(log: str) -> frozenset[str]:
    """The lanes that carry data to the peer, as UCX configured them: ``rc_verbs/rxe0:1``."""
    return frozenset(
        lane
        for configured in _CONFIGURED.findall(log)
        for group in _LANES.findall(configured)
        for lane in group.split()
    )


def complaint(log: str) -> str:
    """The last thing that UCX complained about, to stand behind an error of NIXL."""
    found = _COMPLAINT.findall(log)
    return f" (UCX: {found[-1]})" if found else ""


def generation(version: str) -> str:
    """Major and minor, what two sides must share; empty for what is not a version."""
    match = re.match(r"\d+\.\d+", version)
    return match[0] if match else ""
