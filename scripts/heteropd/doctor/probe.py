"""Reads a host's facts: one script, run by its shell, and what the lines that it prints mean."""

import ipaddress
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from heteropd.doctor.facts import Card, CardList, DockerFacts, Facts, Gid, GpuProcess, IbPort, Memlock
from heteropd.system import Clock, Completed, SystemClock

_TIMEOUT_S = 60.0
_CAP_IPC_LOCK = 14
_CARDS = {"cuda": "gpu", "gaudi": "hpu"}


class Reader(Protocol):
    """The part of a runner of commands that reading facts needs."""

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run to the end; never raises for a non-zero exit or a missing program."""
        ...


def read_facts(
    reader: Reader, model: str = "", root: str = "", docker: str = "", clock: Clock | None = None
) -> Facts:
    """Read a host's facts. Never raises: a host that does not answer says so in ``trouble``.

    ``docker``: where Docker listens there, as in DOCKER_HOST; empty for the usual socket.
    """
    script = (Path(__file__).parent / "probe.sh").read_text(encoding="utf-8")
    clock = clock or SystemClock()
    before = clock.wall().timestamp()
    done = reader.run(["sh", "-c", script, "probe", root, model, docker], timeout_s=_TIMEOUT_S)
    if "\nend" in done.out:
        try:
            return parse_facts(done.out, before, clock.wall().timestamp())
        except (ValueError, IndexError) as bad:
            return Facts(trouble=f"the probe's output is not understood ({bad})")
    problem = " ".join(done.err.split()) or "the probe ended early"
    return Facts(trouble=f"{problem[-200:]} (exit status {done.code})")


def parse_facts(text: str, before: float = 0.0, after: float = 0.0) -> Facts:
    """Facts from the probe's lines; pure. ``before`` and ``after``: our clock around the probe."""
    rows: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        key, *values = line.split("\t")
        rows.setdefault(key, []).append(values)

    def first(key: str) -> str | None:
        return (rows[key][0] or [""])[0] or None if key in rows else None

    def texts(key: str) -> tuple[str, ...]:
        return tuple(row[0] for row in rows.get(key, []) if row and row[0])

    return Facts(
        kernel=first("kernel") or "",
        root=first("uid") == "0",
        verbs={row[0]: row[1] == "yes" for row in rows.get("verbs", [])},
        verbs_of={row[0]: row[2] for row in rows.get("verbs", []) if row[2:] and row[2]},
        ports=_ports(rows),
        mtus={row[0]: int(row[1]) for row in rows.get("mtu", []) if row[1].isdigit()},
        addresses=frozenset([*texts("address"), *(_address6(digits) for digits in texts("address6"))]),
        interfaces=_interfaces(rows),
        reached=first("ssh"),
        listening=frozenset(_listening(socket) for socket in texts("listen")) if "sockets" in rows else None,
        memlock=tuple(parse_memlock(row) for row in rows.get("memlock", []) if row[1]),
        modules=frozenset(texts("module")),
        nvidia=first("nvidia"),
        accel={row[0]: row[1] == "yes" for row in rows.get("accel", [])},
        holders=tuple((row[0], row[1]) for row in rows.get("holder", [])),
        drivers={row[0]: row[1] for row in rows.get("driver", [])},
        gpu_processes=tuple(filter(None, map(_gpu_process, texts("app")))),
        gpu_trouble=" ".join(line for line in texts("app") if _gpu_process(line) is None)[:200],
        cards={platform: _cards(texts(key)) for platform, key in _CARDS.items() if key in rows},
        memory_gib=_gib(first("memory_kib")),
        disk_gib=_gib(first("disk_kib")),
        disk_place=(rows.get("disk_kib") or [["", ""]])[0][-1],
        shm_gib=_gib(first("shm_kib")),
        model=first("model"),
        model_is=first("model_is"),
        software=frozenset(row[0] for row in rows.get("ibdev", []) if _without_card(*row)),
        ahead=_ahead(texts("clock"), before, after),
        tcp_retries=int(retries) if (retries := first("tcp_retries") or "").isdigit() else None,
        docker=_docker(rows["docker"][0]) if "docker" in rows else None,
        programs=frozenset(texts("program")),
    )


def _cards(lines: tuple[str, ...]) -> CardList:
    """Lines of index, name, used and total memory, driver, UUID; a line that is none is what went wrong."""
    cards, others = [], []
    for line in lines:
        index, *rest = (word.strip() for word in line.split(","))
        if index.isdigit() and len(rest) >= 3:
            driver, uuid = (*rest[3:5], "", "")[:2]
            cards.append(Card(int(index), rest[0], driver, uuid))
        else:
            others.append(line.strip())
    return CardList(tuple(cards), " ".join(others)[:200])


def _gpu_process(line: str) -> GpuProcess | None:
    """A line of pid, name (which may have commas), memory and the card's UUID; None where it is not one."""
    words = [word.strip() for word in line.split(",")]
    if len(words) < 4 or not words[0].isdigit() or not words[-1].startswith(("GPU-", "MIG-")):
        return None
    return GpuProcess(words[0], ", ".join(words[1:-1]), words[-1])


def _docker(row: list[str]) -> DockerFacts:
    """What its API says as ``version`` and ``info``; empty where that is not understood."""
    version, info = (_json(text) for text in (*row[1:], "", "")[:2])
    if not version.get("Version"):
        return DockerFacts(row[0])
    names = [component.get("Name") for component in version.get("Components") or []]
    product = "Docker" if names[:1] in ([], ["Engine"]) else str(names[0])
    runtimes = info.get("Runtimes")
    return DockerFacts(row[0], product, str(version["Version"]), frozenset(runtimes) if runtimes else None)


def _json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _ports(rows: dict[str, list[list[str]]]) -> tuple[IbPort, ...]:
    gids: dict[str, list[Gid]] = {}
    for device, port, index, address, kind, interface in rows.get("gid", []):
        gid = Gid(int(index), ipaddress.IPv6Address(address), kind, interface)
        gids.setdefault(f"{device}:{port}", []).append(gid)
    named = [(f"{row[0]}:{row[1]}", *row) for row in rows.get("port", [])]
    return tuple(
        IbPort(name, state, link, tuple(gids.get(name, ())), _interface(name, gids.get(name, []), rows))
        for name, _, _, state, link in named
    )


def _interface(name: str, gids: list[Gid], rows: dict[str, list[list[str]]]) -> str:
    """Of a RoCE port its GIDs name it. InfiniBand's is below the device, with the port's number less one."""
    device, _, port = name.partition(":")
    named = [gid.interface for gid in gids if gid.interface]
    below = [row for row in rows.get("ibnet", []) if row[0] == device]
    ports = [row for row in rows.get("port", []) if row[0] == device]
    named += [net for _, net, number in below if len(ports) == 1 or number == str(int(port) - 1)]
    return named[0] if named else ""


def _interfaces(rows: dict[str, list[list[str]]]) -> dict[str, tuple[str, ...]]:
    """IPv4 first. Without the program ``ip`` there, IPv4 addresses are known only of RoCE's interfaces."""
    pairs = [(row[0], row[1]) for row in rows.get("inet", [])]
    mapped = [(row[5], ipaddress.IPv6Address(row[3]).ipv4_mapped) for row in rows.get("gid", []) if row[5]]
    pairs += [(interface, str(address)) for interface, address in mapped if address]
    pairs += [(row[1], _address6(row[0])) for row in rows.get("address6", []) if len(row) > 1]
    addresses: dict[str, list[str]] = {}
    for interface, address in pairs:
        if address not in addresses.setdefault(interface, []):
            addresses[interface].append(address)
    return {interface: tuple(several) for interface, several in addresses.items()}


def _without_card(name: str, place: str, description: str) -> bool:
    # Soft-RoCE and soft-iWARP: virtual devices, or named after what they are.
    return "/devices/virtual/" in place or description == "rxe" or name.startswith(("rxe", "siw"))


def _ahead(clocks: tuple[str, ...], before: float, after: float) -> tuple[float, float] | None:
    # Read first and last on the host, so that the way there and back is all that is uncertain.
    if len(clocks) != 2 or not all(re.fullmatch(r"\d+(\.\d+)?", clock) for clock in clocks):
        return None
    return float(clocks[1]) - after, float(clocks[0]) - before


def parse_memlock(row: list[str]) -> Memlock:
    """Of whom, the limit as /proc/PID/limits shows it, and CapEff of /proc/PID/status."""
    capabilities = int(row[2] or "0", 16)
    limit = None if row[1] == "unlimited" else int(row[1])
    return Memlock(row[0], limit, bool(capabilities >> _CAP_IPC_LOCK & 1))


def _address6(digits: str) -> str:
    return str(ipaddress.IPv6Address(int(digits, 16)))


def _listening(local: str) -> int:
    return int(local.rpartition(":")[2], 16)


def _gib(kib: str | None) -> float | None:
    return int(kib) / 2**20 if kib and kib.isdigit() else None
