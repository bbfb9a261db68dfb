"""What two hosts send to each other: a connection to each side channel, an RDMA ping, a NIXL transfer."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from heteropd.doctor import fabric, launch
from heteropd.doctor.host import side_channel_address
from heteropd.doctor.model import EngineTarget, ExaminedHost, Exchange, ReportOrReason, unknown_python
from heteropd.doctor.nixl import generation, report
from heteropd.doctor.reach import Outside
from heteropd.doctor.relay import Talk
from heteropd.doctor.runners import RemoteShell

_HARDWARE, _SOFTWARE = (8, 4), (1, 1)  # MiB, and how often: where no speed is judged, once is enough
_PING_PORT = 18515  # ibv_rc_pingpong's own
_CHANNEL_S, _PING_S, _TRANSFER_S = 20, 30, 60
_GRACE_S = 15.0


@dataclass(frozen=True)
class _Way:
    """How a program is run on both hosts at once."""

    places: tuple[RemoteShell, RemoteShell]
    talk: Talk

    def both(self, argvs: Sequence[Sequence[str]], seconds: int) -> ReportOrReason:
        commands = [place.command(argv) for place, argv in zip(self.places, argvs, strict=True)]
        one, other = self.talk(commands[0], commands[1], seconds + _GRACE_S)
        return report(one), report(other)


def between(one: ExaminedHost, other: ExaminedHost, outside: Outside) -> Exchange:
    """Send what can be sent; where another check says already that it cannot work, say which."""
    way = _Way((outside.reach(one.target), outside.reach(other.target)), outside.talk)
    channel = _unread(one, other) or _channel(one, other, way)
    return Exchange(
        channel,
        _unread(one, other) or _ping(one, other, way, channel),
        _unread(one, other) or _transfer(one, other, way),
    )


def _channel(one: ExaminedHost, other: ExaminedHost, way: _Way) -> ReportOrReason:
    engines = _engine(one), _engine(other)
    for node, engine in zip((one, other), engines, strict=True):
        if engine.side_channel is None:
            return f"{engine.name} announces no side channel"
        if side_channel_address(node).status == "FAIL":
            return f"not tried: {node.target.name} announces an address that is not its own"
    ends = [[engine.address, engine.side_channel] for engine in engines]
    token = secrets.token_hex(8)
    asked = [
        {"mine": ends[mine], "theirs": ends[1 - mine], "token": token, "seconds": _CHANNEL_S}
        for mine in (0, 1)
    ]
    return way.both([_plain(engines[mine], "side_channel", asked[mine]) for mine in (0, 1)], _CHANNEL_S)


def _ping(one: ExaminedHost, other: ExaminedHost, way: _Way, channel: ReportOrReason) -> ReportOrReason:
    if not (one.verbs and other.verbs):
        return "no engine names RDMA in UCX_TLS"
    if wrong := _unfit(one, other):
        return wrong
    free = not isinstance(channel, str) and all(
        (end.found or {}).get("listening") == "ours" for end in channel
    )
    server = _engine(one)
    asked = []
    for node, address in ((one, None), (other, server.address)):
        port = fabric.used_ports(node)[0]
        device, _, number = port.name.partition(":")
        asked.append(
            {
                "device": device,
                "port": int(number),
                "gid": fabric.gid_index(node, port),
                "tcp": server.side_channel if free else _PING_PORT,
                "server": address,
                "ping_seconds": _PING_S // 2,
                "seconds": _PING_S,
            }
        )
    argvs = [_plain(_engine(node), "rdma_ping", said) for node, said in zip((one, other), asked, strict=True)]
    return way.both(argvs, _PING_S)


def _transfer(one: ExaminedHost, other: ExaminedHost, way: _Way) -> ReportOrReason:
    engines = _engine(one), _engine(other)
    for node, engine in zip((one, other), engines, strict=True):
        if engine.python is None:
            return unknown_python(node.target)
    if (
        wrong := _unfit(one, other)
        or _differing(one, other)
        or fabric.without_rdma(one)
        or fabric.without_rdma(other)
    ):
        return wrong
    names, (mib, rounds) = ("prefill-side", "decode-side"), amount(one, other)
    asked = [
        {
            "name": names[mine],
            "other": names[1 - mine],
            "first": mine == 0,
            "mib": mib,
            "rounds": rounds,
            "seconds": _TRANSFER_S,
        }
        for mine in (0, 1)
    ]
    argvs = [launch.nixl(engines[mine], "nixl_transfer", asked[mine], log="info") for mine in (0, 1)]
    return way.both(argvs, _TRANSFER_S)


def amount(one: ExaminedHost, other: ExaminedHost) -> tuple[int, int]:
    """MiB of a transfer, and how often it is made each way."""
    return _SOFTWARE if without_speed(one, other) else _HARDWARE


def without_speed(one: ExaminedHost, other: ExaminedHost) -> str | None:
    """Why the speed between two hosts means nothing; None where it does."""
    for node in (one, other):
        if any(engine.standin for engine in node.target.engines):
            return f"{node.target.name} runs a stand-in: its speed means nothing"
        if soft := [port.name for port in fabric.used_ports(node) if fabric.is_software(node, port)]:
            return f"{soft[0]} of {node.target.name} is RDMA in software"
    return None


def _unfit(one: ExaminedHost, other: ExaminedHost) -> str | None:
    for node in (one, other):
        wrong = fabric.unfit(node) if node.verbs else None
        wrong = wrong or next((wrong for said in node.nixl if (wrong := said.wrong)), None)
        if wrong:
            return f"not tried: {node.target.name}: {wrong}"
    return None


def _differing(one: ExaminedHost, other: ExaminedHost) -> str | None:
    found = [{generation(said.nixl) for said in node.nixl if said.nixl} for node in (one, other)]
    if all(found) and found[0] != found[1]:
        return "not tried: the two sides' NIXL differ"
    return None


def _unread(one: ExaminedHost, other: ExaminedHost) -> str | None:
    for node in (one, other):
        if node.facts.trouble:
            return f"the facts of {node.target.name} could not be read"
        if not node.target.engines:
            return f"no engine is planned on {node.target.name}"
    return None


def _engine(node: ExaminedHost) -> EngineTarget:
    return node.target.engines[0]


def _plain(engine: EngineTarget, name: str, asked: dict[str, object]) -> Sequence[str]:
    return launch.plain(engine.python if engine.launch == ("sh",) else None, name, asked)
