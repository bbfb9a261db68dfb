"""UCX_TLS and UCX_NET_DEVICES, by UCX's own rules: read in its source, and tried with UCX 1.23.

A ``^`` at the front excludes what follows. ``all`` alone, or no variable at all, takes everything. Words are
split at commas and never stripped: ``rc, cuda_copy`` names `` cuda_copy``, which no UCX has. ``\\rc_verbs``
is that transport and no alias; ``rc_verbs:aux`` only sets connections up. An empty list is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TLS = "UCX_TLS"
NET_DEVICES = "UCX_NET_DEVICES"
MODULES = "UCX_MODULES"

_ALL = "all"
_SHARED_MEMORY = ("posix", "sysv", "xpmem", "knem", "cma")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "mm": ("posix", "sysv", "xpmem"),
    "sm": _SHARED_MEMORY,
    "shm": _SHARED_MEMORY,
    "ib": ("rc_verbs", "ud_verbs", "rc_mlx5", "ud_mlx5", "dc_mlx5", "gga_mlx5", "srd", "rc_gda"),
    "ud_v": ("ud_verbs",),
    "ud_x": ("ud_mlx5",),
    "ud": ("ud_mlx5", "ud_verbs"),
    "rc_v": ("rc_verbs",),
    "rc_x": ("rc_mlx5",),
    "rc": ("rc_mlx5", "rc_verbs"),
    "dc": ("dc_mlx5",),
    "dc_x": ("dc_mlx5",),
    "gga": ("gga_mlx5",),
    "cuda": ("cuda_copy", "cuda_ipc", "gdr_copy"),
    "rocm": ("rocm_copy", "rocm_ipc", "rocm_gdr"),
    "ze": ("ze_copy", "ze_ipc", "ze_gdr"),
    "gaudi": ("gaudi_gdr",),
}
"""What a name in UCX_TLS stands for, less what it takes for setting connections up only."""

_RDMA = ("ib", "rc", "ud", "dc", "gga", "srd")
_DEVICES = ("cuda", "gdr", "gaudi", "rocm", "ze")


@dataclass(frozen=True)
class Transports:
    """What UCX_TLS lets UCX use. ``words`` stand as they were written, without the ``^``."""

    mode: Literal["all", "named", "excluded"]
    words: tuple[str, ...] = ()

    def allows(self, transport: str) -> bool:
        """Whether data may take a transport, which is called by its own name: ``rc_verbs``, not ``rc``."""
        if self.mode == "all":
            return True
        listed = any(transport in expand(word) for word in self.words if not word.endswith(":aux"))
        return listed == (self.mode == "named")

    @property
    def may_use_rdma(self) -> bool:
        return self.allows("rc_verbs") or self.allows("ud_verbs") or self.names_rdma

    @property
    def names_rdma(self) -> bool:
        """Whether RDMA is named: a list that only excludes says nothing of what must be there."""
        return self.mode == "named" and any(map(is_rdma, self.words))


def transports(environment: Mapping[str, str]) -> Transports:
    """What an environment's UCX_TLS says; ``all`` before other names, which UCX refuses, is ``all``."""
    value = environment.get(TLS, _ALL)
    words = _words(value.removeprefix("^"))
    if words[:1] == (_ALL,):
        return Transports("all")
    return Transports("excluded" if value.startswith("^") else "named", words)


def net_devices(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The devices that UCX_NET_DEVICES names and that must be there; none where UCX may take any."""
    value = environment.get(NET_DEVICES, _ALL)
    words = _words(value)
    return () if value.startswith("^") or _ALL in words else words


def left_out_modules(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The modules that UCX_MODULES keeps UCX from loading."""
    value = environment.get(MODULES, _ALL)
    return _words(value[1:]) if value.startswith("^") else ()


def expand(word: str) -> tuple[str, ...]:
    """The transports that a word of UCX_TLS stands for: ``rc``, ``\\rc_verbs``, ``ud:aux``."""
    name = word.partition(":")[0]
    return (name[1:],) if name.startswith("\\") else ALIASES.get(name, (name,))


def names_for(transport: str) -> list[str]:
    """The words that may stand for a transport, its own name first."""
    return [transport, *(alias for alias, members in ALIASES.items() if transport in members)]


def is_rdma(transport: str) -> bool:
    """Whether a word of UCX_TLS, or a lane such as ``rc_verbs/mlx5_0:1``, is RDMA."""
    return transport.removeprefix("\\").startswith(_RDMA)


def is_of_device(transport: str) -> bool:
    """Whether a word of UCX_TLS needs an accelerator's module."""
    return transport.removeprefix("\\").startswith(_DEVICES)


def _words(value: str) -> tuple[str, ...]:
    return tuple(word for word in dict.fromkeys(value.split(",")) if word)
