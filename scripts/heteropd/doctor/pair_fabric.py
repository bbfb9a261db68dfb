"""T3: two hosts' facts side by side."""

from __future__ import annotations

from heteropd.doctor.catalogue import PAIR, registered
from heteropd.doctor.fabric import used_ports
from heteropd.doctor.model import ExaminedHost, ExaminedPair, Outcome, unknown_python
from heteropd.doctor.nixl import generation


@registered(PAIR, "T3-03-same-nixl")
def same_nixl(pair: ExaminedPair) -> Outcome:
    """One major.minor of NIXL, and one of UCX."""
    found: list[dict[str, set[str]]] = []
    for node in (pair.one, pair.other):
        if not node.nixl:
            return Outcome("SKIP", unknown_python(node.target))
        versions = {"NIXL": {said.nixl for said in node.nixl}, "UCX": {said.ucx for said in node.nixl}}
        known = {name: {one for one in ones if one} for name, ones in versions.items()}
        if not all(known.values()):
            return Outcome("SKIP", f"{node.target.name} did not say its versions")
        found.append(known)
    text = " and ".join(_shown(one) for one in found)
    same = all(
        {generation(one) for one in found[0][name]} == {generation(one) for one in found[1][name]}
        for name in found[0]
    )
    return Outcome("PASS" if same else "FAIL", text)


@registered(PAIR, "T3-09-link-layer")
def link_layer(pair: ExaminedPair) -> Outcome:
    """A link layer that both have."""
    here, there = ({port.link_layer for port in used_ports(node)} for node in (pair.one, pair.other))
    if not here or not there:
        lacking = pair.one if not here else pair.other
        return Outcome("SKIP", f"no active port on {lacking.target.name}")
    text = f"{', '.join(sorted(here))} and {', '.join(sorted(there))}"
    return Outcome("PASS" if here & there else "FAIL", text)


@registered(PAIR, "T3-56-mtu")
def mtu(pair: ExaminedPair) -> Outcome:
    """Equal MTUs below RoCE. What an InfiniBand port uses is not in sysfs."""
    here, there = _mtus(pair.one), _mtus(pair.other)
    if not here or not there:
        lacking = pair.other if here else pair.one
        return Outcome("SKIP", f"no RoCE interface in use on {lacking.target.name}")
    shown = [", ".join(f"{name} {size}" for name, size in sorted(mtus.items())) for mtus in (here, there)]
    same = len({*here.values(), *there.values()}) == 1
    return Outcome("PASS" if same else "FAIL", " and ".join(shown))


@registered(PAIR, "T3-58-clock-skew")
def clock_skew(pair: ExaminedPair) -> Outcome:
    """How far apart two clocks are for sure: what the way to each host took is in doubt."""
    one, other = pair.one.facts.ahead, pair.other.facts.ahead
    if one is None or other is None:
        lacking = pair.one if one is None else pair.other
        return Outcome("SKIP", f"the clock of {lacking.target.name} could not be read")
    apart, most = max(one[0] - other[1], other[0] - one[1], 0.0), pair.one.limits.clock_skew_s
    text = f"at least {apart:.1f} s apart, {most:g} s allowed"
    return Outcome("WARN" if apart > most else "PASS", text)


@registered(PAIR, "T3-59-tcp-patience")
def tcp_patience(pair: ExaminedPair) -> Outcome:
    """Both kernels give a silent TCP connection up soon; of concern only where engines may use TCP."""
    if pair.one.verbs and pair.other.verbs:
        return Outcome("SKIP", "the engines use RDMA, which gives up by itself")
    most, found = pair.one.limits.tcp_retries, []
    for node in (pair.one, pair.other):
        if node.facts.tcp_retries is None:
            return Outcome("SKIP", f"net.ipv4.tcp_retries2 of {node.target.name} could not be read")
        found.append((node.facts.tcp_retries, node.target.name))
    shown = ", ".join(f"{name} {retries}" for retries, name in found)
    text = f"net.ipv4.tcp_retries2: {shown}; {most} at most"
    return Outcome("WARN" if max(found)[0] > most else "PASS", text)


@registered(PAIR, "T3-60-same-model")
def same_model(pair: ExaminedPair) -> Outcome:
    """Folders that hold the model on both hosts hold the same one."""
    one, other = pair.one.facts.model_is, pair.other.facts.model_is
    if one is None or other is None:
        return Outcome("SKIP", "the model is a folder that could be read on neither or only one of them")
    text = f"{pair.one.target.name} {one}, {pair.other.target.name} {other}"
    return Outcome("PASS" if one == other else "FAIL", text)


def _shown(versions: dict[str, set[str]]) -> str:
    return ", ".join(f"{name} {'/'.join(sorted(found))}" for name, found in versions.items())


def _mtus(node: ExaminedHost) -> dict[str, int]:
    names = {gid.interface for port in used_ports(node) if port.link_layer == "Ethernet" for gid in port.gids}
    return {name: node.facts.mtus[name] for name in names & node.facts.mtus.keys()}
