"""Reads a host: its facts, and NIXL in the place of each engine that differs."""

from __future__ import annotations

from heteropd.config.checks import HostLimits
from heteropd.doctor import fabric, facts, launch, nixl
from heteropd.doctor.model import EngineTarget, ExaminedHost, HostTarget
from heteropd.doctor.runners import Reader

_PROGRAM_S, _TIMEOUT_S = 60, 75.0


def node(target: HostTarget, reader: Reader, limits: HostLimits) -> ExaminedHost:
    """Everything that is known of a host. Never raises."""
    found = facts.read(reader, target.model)
    bare = ExaminedHost(target, found, limits)
    if found.trouble or fabric.hangs(bare):
        return bare
    seen: dict[tuple[object, ...], EngineTarget] = {}
    for engine in target.engines:
        if engine.python:
            seen.setdefault((engine.launch, engine.python, *sorted(engine.env.items())), engine)
    return ExaminedHost(target, found, limits, tuple(_nixl(engine, reader) for engine in seen.values()))


def _nixl(engine: EngineTarget, reader: Reader) -> nixl.NixlReading:
    argv = launch.nixl(engine, "nixl_node", {"seconds": _PROGRAM_S}, log="debug")
    return nixl.read(engine.name, nixl.report(reader.run(argv, timeout_s=_TIMEOUT_S)))
