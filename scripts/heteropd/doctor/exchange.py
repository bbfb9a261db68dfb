"""What two hosts send to each other: a connection to each side channel, an RDMA ping, a NIXL transfer."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from heteropd.doctor import fabric, launch
from heteropd.doctor.host_checks import side_channel_address
from heteropd.doctor.model import ExaminedHost, ExaminedPair, ReportOrReason, unknown_python
from heteropd.doctor.nixl import generation, report
from heteropd.doctor.reach import Outside
from heteropd.doctor.software import untried

Request = Mapping[str, Any]

_HARDWARE, _SOFTWARE = (8, 4), (1, 1)  # MiB, and how often: where no speed is judged, once is enough
_PING_PORT = 18515  # ibv_rc_pingpong's own
_CHANNEL_S, _PING_S, _TRANSFER_S = 20, 30, 60
_GRACE_S = 15.0


class _Pair:
    """Both hosts, the engine that stands for each, and how a program is run on both at once."""

    def __init__(self, one: ExaminedHost, other: ExaminedHost, outside: Outside) -> None:
        self.hosts = one, other
        self.engines = one.target.engines[0], other.target.engines[0]
        self._outside = outside

    def run(self, argvs: Sequence[Sequence[str]], seconds: int) -> ReportOrReason:
        shells = [self._outside.reach(host.target) for host in self.hosts]
        commands = [shell.command(argv) for shell, argv in zip(shells, argvs, strict=True)]
        one, other = self._outside.talk(commands[0], commands[1], seconds + _GRACE_S)
        return report(one), report(other)

    def run_plain(self, program: str, requests: Sequence[Request], seconds: int) -> ReportOrReason:
        """Run a program that needs no NIXL, with the engines' Python where that is the host's."""
        pythons = [engine.python if engine.launch == ("sh",) else None for engine in self.engines]
        argvs = [
            launch.plain(python, program, {**request, "seconds": seconds})
            for python, request in zip(pythons, requests, strict=True)
        ]
        return self.run(argvs, seconds)


def examine_pair(one: ExaminedHost, other: ExaminedHost, outside: Outside) -> ExaminedPair:
    """Send what can be sent; where another check says already that it cannot work, say which."""
    hosts = one, other
    for host in hosts:
        reason = f"the facts of {host.target.name} could not be read" if host.facts.trouble else ""
        if not host.target.engines:
            reason = f"no engine is planned on {host.target.name}"
        if reason:
            return ExaminedPair(hosts, reason, reason, reason)
    pair = _Pair(one, other, outside)
    channel = _channel(pair)
    return ExaminedPair(hosts, channel, _ping(pair, channel), _transfer(pair))


def _channel(pair: _Pair) -> ReportOrReason:
    for host, engine in zip(pair.hosts, pair.engines, strict=True):
        if engine.role.ports.side_channel is None:
            return f"{engine.name} announces no side channel"
        if side_channel_address(host).status == "FAIL":
            return f"not tried: {host.target.name} announces an address that is not its own"
    ends = [[engine.address, engine.role.ports.side_channel] for engine in pair.engines]
    token = secrets.token_hex(8)
    requests = [{"mine": ends[mine], "theirs": ends[1 - mine], "token": token} for mine in (0, 1)]
    return pair.run_plain("side_channel", requests, _CHANNEL_S)


def _ping(pair: _Pair, channel: ReportOrReason) -> ReportOrReason:
    if not all(host.verbs for host in pair.hosts):
        return "no engine names RDMA in UCX_TLS"
    if wrong := _unfit(pair):
        return wrong
    server = pair.engines[0]
    heard = () if isinstance(channel, str) else [end.result or {} for end in channel]
    free = bool(heard) and all(result.get("listening") == "ours" for result in heard)
    tcp = server.role.ports.side_channel if free else _PING_PORT
    requests: list[Request] = []
    for host, address in zip(pair.hosts, (None, server.address), strict=True):
        port = fabric.used_ports(host)[0]
        device, _, number = port.name.partition(":")
        request = {"device": device, "port": int(number), "gid": fabric.gid_index(host, port)}
        requests.append({**request, "tcp": tcp, "server": address, "ping_seconds": _PING_S // 2})
    return pair.run_plain("rdma_ping", requests, _PING_S)


def _transfer(pair: _Pair) -> ReportOrReason:
    wrong = _unfit(pair) or _differing(pair)
    for host, engine in zip(pair.hosts, pair.engines, strict=True):
        if engine.python is None:
            return unknown_python(host.target)
        wrong = wrong or untried(host) or fabric.without_rdma(host)
    if wrong:
        return wrong
    names, (mib, rounds) = ("prefill-side", "decode-side"), amount(*pair.hosts)
    common = {"mib": mib, "rounds": rounds, "seconds": _TRANSFER_S}
    argvs = [
        launch.nixl(
            pair.engines[mine],
            "nixl_transfer",
            {"name": names[mine], "other": names[1 - mine], "first": mine == 0, **common},
            log="info",
        )
        for mine in (0, 1)
    ]
    return pair.run(argvs, _TRANSFER_S)


def amount(one: ExaminedHost, other: ExaminedHost) -> tuple[int, int]:
    """MiB of a transfer, and how often it is made each way."""
    return _SOFTWARE if without_speed(one, other) else _HARDWARE


def without_speed(one: ExaminedHost, other: ExaminedHost) -> str | None:
    """Why the speed between two hosts means nothing; None where it does."""
    for host in (one, other):
        if any(engine.role.standin for engine in host.target.engines):
            return f"{host.target.name} runs a stand-in: its speed means nothing"
        if soft := [port.name for port in fabric.used_ports(host) if fabric.is_software(host, port)]:
            return f"{soft[0]} of {host.target.name} is RDMA in software"
    return None


def _unfit(pair: _Pair) -> str | None:
    for host in pair.hosts:
        wrong = fabric.unfit(host) if host.verbs else None
        wrong = wrong or next((wrong for reading in host.nixl if (wrong := reading.wrong)), None)
        if wrong:
            return f"not tried: {host.target.name}: {wrong}"
    return None


def _differing(pair: _Pair) -> str | None:
    found = [{generation(reading.nixl) for reading in host.nixl if reading.nixl} for host in pair.hosts]
    if all(found) and found[0] != found[1]:
        return "not tried: the two sides' NIXL differ"
    return None
