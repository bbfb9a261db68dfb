"""A host's facts, as plain data; `probe` reads them."""

import ipaddress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gid:
    """One GID of a port. ``kind`` is ``RoCE v2`` or ``IB/RoCE v1``."""

    index: int
    address: ipaddress.IPv6Address
    kind: str
    interface: str


@dataclass(frozen=True)
class IbPort:
    """A port of an InfiniBand or RoCE device; ``state`` as the kernel says it: ``4: ACTIVE``.

    ``interface``: the network interface on it, empty where it has none or the kernel does not say it.
    """

    name: str
    state: str
    link_layer: str
    gids: tuple[Gid, ...] = ()
    interface: str = ""

    @property
    def active(self) -> bool:
        return self.state.endswith(": ACTIVE")


@dataclass(frozen=True)
class Memlock:
    """How much memory a process may lock: bytes, or None for no limit. ``who``: ``shell`` or a pid."""

    who: str
    limit: int | None
    ipc_lock: bool = False

    @property
    def enough(self) -> bool:
        return self.limit is None or self.ipc_lock  # the kernel does not count with CAP_IPC_LOCK


@dataclass(frozen=True)
class Card:
    """An accelerator as its vendor's tool lists it; what that does not say is empty."""

    index: int
    name: str
    driver: str = ""
    uuid: str = ""


@dataclass(frozen=True)
class CardList:
    """What nvidia-smi or hl-smi printed: cards, and what was none, which is what went wrong."""

    cards: tuple[Card, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class GpuProcess:
    """A process as nvidia-smi lists it, and the card that it uses."""

    pid: str
    about: str
    uuid: str


@dataclass(frozen=True)
class DockerFacts:
    """Its socket is ``there``, ``denied`` to this user, or ``absent``; the rest is empty where none answered.

    ``product`` is what answered: Docker, or what speaks for it. ``runtimes``: None where they are unknown.
    """

    socket: str
    product: str = ""
    version: str = ""
    runtimes: frozenset[str] | None = None


@dataclass(frozen=True)
class Facts:
    """What a host said. ``trouble`` is why nothing was read; None values are what could not be read.

    ``software``: RDMA devices without a card. ``ahead``: by how many seconds this host's clock is ahead of
    ours, at least and at most. ``tcp_retries``: how often the kernel sends unanswered data again before it
    gives a connection up. ``model_is`` tells one model from another. ``interfaces``: addresses by interface.
    ``reached``: the host's address at which ssh arrived. ``verbs``: devices, and whether this user can open
    them; ``verbs_of``: the RDMA device of each. ``drivers``: versions of accelerators' kernel modules.
    ``cards``: what the vendor's tool of a platform lists, where there is one.
    """

    trouble: str | None = None
    kernel: str = ""
    root: bool = False
    verbs: dict[str, bool] = field(default_factory=dict)
    verbs_of: dict[str, str] = field(default_factory=dict)
    ports: tuple[IbPort, ...] = ()
    software: frozenset[str] = frozenset()
    mtus: dict[str, int] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()
    interfaces: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reached: str | None = None
    listening: frozenset[int] | None = None
    memlock: tuple[Memlock, ...] = ()
    modules: frozenset[str] = frozenset()
    nvidia: str | None = None
    accel: dict[str, bool] = field(default_factory=dict)
    holders: tuple[tuple[str, str], ...] = ()
    drivers: dict[str, str] = field(default_factory=dict)
    gpu_processes: tuple[GpuProcess, ...] = ()
    gpu_trouble: str = ""
    cards: dict[str, CardList] = field(default_factory=dict)
    memory_gib: float | None = None
    disk_gib: float | None = None
    disk_place: str = ""
    shm_gib: float | None = None
    model: str | None = None
    model_is: str | None = None
    ahead: tuple[float, float] | None = None
    tcp_retries: int | None = None
    docker: DockerFacts | None = None
    programs: frozenset[str] = frozenset()
