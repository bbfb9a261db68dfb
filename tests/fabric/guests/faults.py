"""Faults that can be planted in a guest, or in what the hosts file says of it; each is undone afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guests.doctor import PAIR
from guests.lab import DEVICE, Lab
from guests.recipe import SITE

_SITE = f"/{SITE}"
_METADATA = f"{_SITE}/nixl*-*.dist-info/METADATA"
_OPEN = "chmod 666 /dev/infiniband/uverbs*"
_TCP = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": f"{DEVICE}:1,eth1"}
_LIMITS = "/etc/security/limits.d/lab.conf"
_AHEAD = "/run/clock-is-ahead"


@dataclass(frozen=True)
class Fault:
    """``plant`` and ``undo``: commands of root on the guest ``where``; ``says``: another environment.

    ``check`` at ``place`` is what must fail, or warn where that is its ``outcome``, with these words in its
    evidence and in its fix. ``warned``: the one other check, if any, that has a warning there.
    """

    check: str
    place: str
    evidence: str
    fix: str
    where: str = "prefill"
    plant: str = ""
    undo: str = ""
    says: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    outcome: str = "FAIL"
    warned: str = ""

    def planted(self, lab: Lab) -> None:
        """Break it."""
        self._run(lab, self.plant)

    def undone(self, lab: Lab) -> None:
        """Fix it; safe to call where planting stopped half-way."""
        self._run(lab, self.undo)

    def _run(self, lab: Lab, command: str) -> None:
        if not command:
            return
        guest = next(one for one in lab.guests if one.name == self.where)
        guest.access.run(command)
        # Limits are those of the login, so the next one must be a new one.
        guest.access.hang_up("engine")


FAULTS = {
    "device deleted": Fault(
        *("T2-09-net-devices", "prefill", "no InfiniBand or RoCE device", "bring the link up"),
        plant=f"rdma link delete {DEVICE}",
        undo=f"rdma link show {DEVICE}/1 || rdma link add {DEVICE} type rxe netdev eth2; {_OPEN}",
    ),
    "link down": Fault(
        *("T2-09-net-devices", "decode", f"{DEVICE}:1, which is 1: DOWN", "bring the link up"),
        where="decode",
        plant="ip link set eth2 down",
        undo="ip link set eth2 up",
    ),
    "wrong device": Fault(
        *("T2-09-net-devices", "prefill", "names rxe7:1, and there are", "hosts.NAME.nics of the hosts file"),
        says={"prefill": {"UCX_NET_DEVICES": "rxe7:1"}},
    ),
    "memlock 64 kB": Fault(
        *("T2-11-memlock", "decode", "64 KiB", "limits.conf"),
        where="decode",
        plant=f"echo 'engine - memlock 64' > {_LIMITS}",
        undo=f"rm -f {_LIMITS}",
    ),
    "wrong GID index": Fault(
        *("T2-12-gid-index", "prefill", "GID 6 of rxe0:1 is not set", "UCX_IB_GID_INDEX"),
        says={"prefill": {"UCX_IB_GID_INDEX": "6"}},
    ),
    "firewall on the side channel": Fault(
        *("T3-16-side-channel", PAIR, "no answer within", "open the port in the firewall"),
        where="decode",
        plant="nft 'add table inet lab; add chain inet lab in { type filter hook input priority 0; }; "
        "add rule inet lab in iifname eth1 tcp dport 5600 drop'",
        undo="nft 'add table inet lab; delete table inet lab'",
    ),
    "another NIXL": Fault(
        *("T3-03-same-nixl", PAIR, "1.4.1", "install the same NIXL on both hosts"),
        where="decode",
        plant=f"sed -i.lab 's/^Version: .*/Version: 1.3.0/' {_METADATA}",
        undo=f"for file in {_METADATA}; do [ ! -e $file.lab ] || mv $file.lab $file; done",
    ),
    "clock a minute ahead": Fault(
        *("T3-58-clock-skew", PAIR, " s apart, 5 s allowed", "start a time service on both hosts"),
        where="decode",
        outcome="WARN",
        plant=f"touch {_AHEAD} && date -s @$(($(date +%s) + 60))",
        undo=f"[ ! -e {_AHEAD} ] || {{ date -s @$(($(date +%s) - 60)) && rm {_AHEAD}; }}",
    ),
    "TCP only": Fault(
        *("T3-08-rdma-in-use", PAIR, "names no RDMA", "name RDMA alone in UCX_TLS"),
        warned="T3-59-tcp-patience",  # the guests have Linux's default, which matters now
        says={"prefill": _TCP, "decode": _TCP},
    ),
    "the wheel's own libibverbs": Fault(
        *("T2-57-nixl-verbs", "prefill", "no RDMA on rxe0:1", "docker/common/verbs.sh"),
        warned="T2-04-one-ucx",  # the system's libibverbs is there as well, for a driver
        plant=f"cd {_SITE}/nixl_cu12.libs && cp -a --remove-destination /opt/heteropd/unmended/* .",
        undo=f"bash /opt/heteropd/share/verbs.sh {_SITE}",
    ),
}
