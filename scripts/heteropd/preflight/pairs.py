"""T3: two hosts' facts side by side. Nothing is sent between them."""

from __future__ import annotations

from heteropd.preflight.catalogue import PAIR, registered
from heteropd.preflight.fabric import used_ports
from heteropd.preflight.model import Node, Outcome


@registered(PAIR, "T3-09-link-layer")
def link_layer(one: Node, other: Node) -> Outcome:
    """A link layer that both have."""
    here, there = ({port.link_layer for port in used_ports(node)} for node in (one, other))
    if not here or not there:
        return Outcome("SKIP", f"no active port on {one.target.name if not here else other.target.name}")
    text = f"{', '.join(sorted(here))} and {', '.join(sorted(there))}"
    return Outcome("PASS" if here & there else "FAIL", text)


@registered(PAIR, "T3-56-mtu")
def mtu(one: Node, other: Node) -> Outcome:
    """Equal MTUs below RoCE. What an InfiniBand port uses is not in sysfs."""
    here, there = _mtus(one), _mtus(other)
    if not here or not there:
        return Outcome("SKIP", f"no RoCE interface in use on {(other if here else one).target.name}")
    shown = [", ".join(f"{name} {size}" for name, size in sorted(mtus.items())) for mtus in (here, there)]
    same = len({*here.values(), *there.values()}) == 1
    return Outcome("PASS" if same else "FAIL", " and ".join(shown))


def _mtus(node: Node) -> dict[str, int]:
    names = {gid.interface for port in used_ports(node) if port.link_layer == "Ethernet" for gid in port.gids}
    return {name: node.facts.mtus[name] for name in names & node.facts.mtus.keys()}
