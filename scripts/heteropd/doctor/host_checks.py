"""T2: what every host needs, whatever it computes on: an address, ports, memory, disk, the model."""

import ipaddress

from heteropd.doctor.model import ExaminedHost, Outcome


def host_answers(host: ExaminedHost) -> Outcome:
    """Facts were read."""
    if host.facts.trouble:
        return Outcome("FAIL", host.facts.trouble)
    return Outcome("PASS", f"Linux {host.facts.kernel}")


def side_channel_address(host: ExaminedHost) -> Outcome:
    """The announced addresses are local ones."""
    if not host.target.announced:
        return Outcome("SKIP", "no engine is planned here")
    if not host.facts.addresses:
        return Outcome("WARN", "this host's addresses could not be read")
    for address in host.target.announced:
        try:
            wanted = str(ipaddress.ip_address(address))
        except ValueError:
            return Outcome("SKIP", f"{address} is a name: only an address can be compared")
        if wanted not in host.facts.addresses and not ipaddress.ip_address(wanted).is_loopback:
            return Outcome("FAIL", f"{wanted} is not one of {', '.join(sorted(host.facts.addresses))}")
    return Outcome("PASS", ", ".join(host.target.announced))


def ports_free(host: ExaminedHost) -> Outcome:
    """Nobody listens on a planned port, on any address."""
    ports, listening = host.target.ports, host.facts.listening
    if not ports:
        return Outcome("SKIP", "no case is named, so no port is planned")
    if host.target.serves:
        return Outcome("SKIP", "the kit's own topology is running here")
    if listening is None:
        return Outcome("WARN", "listening sockets could not be read")
    busy = [f"{port} ({use})" for port, use in ports.items() if port in listening]
    text = f"in use: {', '.join(busy)}" if busy else f"free: {', '.join(map(str, ports))}"
    return Outcome.judged(not busy, text)


def memory(host: ExaminedHost) -> Outcome:
    """Available memory, against env/checks.yaml."""
    if host.target.serves:
        return Outcome("SKIP", "the kit's own topology is running here and has taken its memory")
    least = host.limits.memory_gib
    if host.platforms == {"cpu"}:
        least = host.limits.standin_memory_gib * max(len(host.target.engines), 1)
    return _at_least(host.facts.memory_gib, least, "available memory")


def disk(host: ExaminedHost) -> Outcome:
    """Free disk in the folder of models. A warning: the model may be there already."""
    outcome = _at_least(host.facts.disk_gib, host.limits.disk_gib, f"free at {host.facts.disk_place}")
    return Outcome("WARN", outcome.text) if outcome.status == "FAIL" else outcome


def shared_memory(host: ExaminedHost) -> Outcome:
    """Size of /dev/shm."""
    if host.facts.shm_gib is None:
        return Outcome("SKIP", "the size of /dev/shm could not be read")
    return _at_least(host.facts.shm_gib, host.limits.shared_memory_gib, "of /dev/shm")


def model(host: ExaminedHost) -> Outcome:
    """A model that is a folder is there."""
    path = host.target.model
    if not path:
        made = "the engine fetches it, or the kit makes it"
        return Outcome("SKIP", f"the model is not a folder of this host: {made}")
    outcomes = {
        "yes": Outcome("PASS", f"{path}/config.json"),
        "empty": Outcome("FAIL", f"{path} has no readable config.json"),
        "no": Outcome("FAIL", f"{path} is not a folder"),
    }
    return outcomes.get(host.facts.model or "", Outcome("WARN", f"{path} could not be looked at"))


def _at_least(gib: float | None, least: float, what: str) -> Outcome:
    if gib is None:
        return Outcome("SKIP", f"{what}: could not be read")
    return Outcome.judged(gib >= least, f"{gib:.1f} GiB {what}, {least:g} GiB wanted")
