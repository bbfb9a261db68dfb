"""Which node plays what: platforms from what was found, and the router's place. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heteropd.config.types import PlatformName
from heteropd.errors import BadInput, KitError, did_you_mean
from heteropd.hosts_init.choose import Entry

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


def router_named(router: str | None, nodes: Mapping[str, str]) -> str | None:
    """The name of the host that ``router=`` means, by name or as ssh takes it. Raises BadInput."""
    if router is None:
        return None
    known = {**{ssh: name for name, ssh in nodes.items()}, **{name: name for name in nodes}}
    if router not in known:
        raise BadInput(
            "command line", "router", router, "is not one of the nodes", did_you_mean(router, known)
        )
    return known[router]


def roles(entries: Sequence[Entry], router: str | None, *, standin: bool) -> Roles:
    """Every accelerator's host on its platform. With ``standin``, a platform that no host has goes to hosts
    without accelerators, in their order; to one twice, and to the router's, where they are too few."""
    platforms: dict[PlatformName, list[str]] = {}
    for entry in entries:
        for platform in entry.platforms:
            platforms.setdefault(platform, []).append(entry.name)
    plain = [entry.name for entry in entries if not entry.platforms]
    missing = [platform for platform in PLATFORMS if platform not in platforms] if standin else []
    free = [name for name in plain if name != router] or plain
    places = free or [entry.name for entry in entries]
    for index, platform in enumerate(missing):
        platforms[platform] = [places[min(index, len(places) - 1)]]
    left = [name for name in plain if not any(name in several for several in platforms.values())]
    ordered = {platform: platforms[platform] for platform in PLATFORMS if platform in platforms}
    return Roles(ordered, router or (left[0] if left else None), standin)


def require_distinct(entries: Sequence[Entry]) -> None:
    """Raises KitError where two nodes turn out to be one machine."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.address, entry)
        if first is not entry:
            raise KitError(
                f"{first.ssh} and {entry.ssh} both have the address {entry.address}; name each machine"
                " once, or give each its own address; nothing was written"
            )
