"""T2: what every host needs, whatever it computes on: an address, ports, memory, disk, the model."""

from __future__ import annotations

import ipaddress

from heteropd.doctor.catalogue import NODE, registered
from heteropd.doctor.model import ExaminedHost, Outcome


@registered(NODE, "T2-50-host-answers")
def host_answers(node: ExaminedHost) -> Outcome:
    """Facts were read."""
    if node.facts.trouble:
        return Outcome("FAIL", node.facts.trouble)
    return Outcome("PASS", f"Linux {node.facts.kernel}")


@registered(NODE, "T2-16-side-channel-address")
def side_channel_address(node: ExaminedHost) -> Outcome:
    """The announced addresses are local ones."""
    if not node.target.announced:
        return Outcome("SKIP", "no engine is planned here")
    if not node.facts.addresses:
        return Outcome("WARN", "this host's addresses could not be read")
    for address in node.target.announced:
        try:
            wanted = str(ipaddress.ip_address(address))
        except ValueError:
            return Outcome("SKIP", f"{address} is a name: only an address can be compared")
        if wanted not in node.facts.addresses and not ipaddress.ip_address(wanted).is_loopback:
            return Outcome("FAIL", f"{wanted} is none of {', '.join(sorted(node.facts.addresses))}")
    return Outcome("PASS", ", ".join(node.target.announced))


@registered(NODE, "T2-18-ports-free")
def ports_free(node: ExaminedHost) -> Outcome:
    """Nobody listens on a planned port, on any address."""
    ports, listening = node.target.ports, node.facts.listening
    if not ports:
        return Outcome("SKIP", "no case is named, so no port is planned")
    if node.target.serves:
        return Outcome("SKIP", "the kit's own topology is running here")
    if listening is None:
        return Outcome("WARN", "listening sockets could not be read")
    busy = [f"{port} ({use})" for port, use in ports.items() if port in listening]
    if busy:
        return Outcome("FAIL", f"in use: {', '.join(busy)}")
    return Outcome("PASS", f"free: {', '.join(map(str, ports))}")


@registered(NODE, "T2-52-memory")
def memory(node: ExaminedHost) -> Outcome:
    """Available memory, against env/checks.yaml."""
    if node.target.serves:
        return Outcome("SKIP", "the kit's own topology is running here and has taken its memory")
    standin = node.platforms == {"cpu"}
    least = (
        node.limits.standin_memory_gib * max(len(node.target.engines), 1)
        if standin
        else node.limits.memory_gib
    )
    return _at_least(node.facts.memory_gib, least, "available memory")


@registered(NODE, "T2-53-disk")
def disk(node: ExaminedHost) -> Outcome:
    """Free disk in the folder of models. A warning: the model may be there already."""
    found = _at_least(node.facts.disk_gib, node.limits.disk_gib, f"free at {node.facts.disk_place}")
    return Outcome("WARN", found.text) if found.status == "FAIL" else found


@registered(NODE, "T2-54-shared-memory")
def shared_memory(node: ExaminedHost) -> Outcome:
    """Size of /dev/shm."""
    if node.facts.shm_gib is None:
        return Outcome("SKIP", "the size of /dev/shm could not be read")
    return _at_least(node.facts.shm_gib, node.limits.shared_memory_gib, "of /dev/shm")


@registered(NODE, "T2-55-model")
def model(node: ExaminedHost) -> Outcome:
    """A model that is a folder is there."""
    path = node.target.model
    if not path:
        return Outcome(
            "SKIP", "the model is no folder of this host: the engine fetches it, or the kit makes it"
        )
    said = {
        "yes": Outcome("PASS", f"{path}/config.json"),
        "empty": Outcome("FAIL", f"{path} has no readable config.json"),
        "no": Outcome("FAIL", f"{path} is not a folder"),
    }
    return said.get(node.facts.model or "", Outcome("WARN", f"{path} could not be looked at"))


def _at_least(found: float | None, least: float, what: str) -> Outcome:
    if found is None:
        return Outcome("SKIP", f"{what}: could not be read")
    return Outcome("PASS" if found >= least else "FAIL", f"{found:.1f} GiB {what}, {least:g} GiB wanted")
