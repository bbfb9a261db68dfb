"""Which node plays what: platforms from what was found, and the router's place. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heteropd.config.problems import did_you_mean
from heteropd.config.types import PlatformName
from heteropd.errors import BadInput, KitError
from heteropd.hosts_init.choose import Entry
from heteropd.hosts_init.nodes import SurveyedHost

PLATFORMS: tuple[PlatformName, ...] = ("cuda", "gaudi")


@dataclass(frozen=True)
class Roles:
    """Names of hosts by platform, and of the router's host; None: this machine."""

    platforms: dict[PlatformName, list[str]]
    router: str | None
    standin: bool

    @property
    def missing(self) -> list[PlatformName]:
        return [platform for platform in PLATFORMS if platform not in self.platforms]


def router_named(router: str | None, nodes: Sequence[SurveyedHost]) -> str | None:
    """The name of the host that ``router=`` means, by name or as ssh takes it. Raises BadInput."""
    if router is None:
        return None
    known = {**{node.ssh: node.name for node in nodes}, **{node.name: node.name for node in nodes}}
    if router not in known:
        raise BadInput("command line", "router", router, "is none of the nodes", did_you_mean(router, known))
    return known[router]


def roles(entries: Sequence[Entry], router: str | None, *, standin: bool) -> Roles:
    """Every accelerator's host on its platform. With ``standin``, a platform that no host has goes to hosts
    without accelerators, in their order; to one twice, and to the router's, where they are too few."""
    platforms: dict[PlatformName, list[str]] = {}
    for one in entries:
        for platform in one.platforms:
            platforms.setdefault(platform, []).append(one.node.name)
    plain = [one.node.name for one in entries if not one.platforms]
    missing = [platform for platform in PLATFORMS if platform not in platforms] if standin else []
    free = [name for name in plain if name != router] or plain
    places = free or [one.node.name for one in entries]
    for index, platform in enumerate(missing):
        platforms[platform] = [places[min(index, len(places) - 1)]]
    left = [name for name in plain if not any(name in several for several in platforms.values())]
    ordered = {platform: platforms[platform] for platform in PLATFORMS if platform in platforms}
    return Roles(ordered, router or (left[0] if left else None), standin)


def require_distinct(entries: Sequence[Entry]) -> None:
    """Raises KitError where two nodes turn out to be one machine."""
    seen: dict[str, Entry] = {}
    for one in entries:
        other = seen.setdefault(one.address, one)
        if other is not one:
            raise KitError(
                f"{other.node.ssh} and {one.node.ssh} both have the address {one.address}; name each machine"
                " once, or give each its own address; nothing was written"
            )
