"""Two guests side by side, with a cable between them and what the kit needs to reach them."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import yaml

from guests import machine, ssh
from guests.image import Image
from guests.machine import Guest, GuestDied

DEVICE = "rxe0"
PYTHON = "/opt/heteropd/bin/python"
# rxe's GIDs: 0 is link-local, 1 the IPv4 address of the interface below it.
UCX = {"UCX_TLS": "rc,self", "UCX_NET_DEVICES": f"{DEVICE}:1", "UCX_IB_GID_INDEX": "1"}
_GUESTS = ("prefill", "decode")
_CABLES = 2
_TAKEN = "host forwarding rule"  # QEMU's words where somebody was faster to take the port
_STARTS = 3


@dataclass(frozen=True)
class Lab:
    """Running guests. ``ssh_config`` names them ``prefill`` and ``decode``."""

    prefill: Guest
    decode: Guest
    ssh_config: Path
    folder: Path

    @property
    def guests(self) -> tuple[Guest, Guest]:
        return self.prefill, self.decode

    def packets_sent(self) -> dict[str, int]:
        """Packets that each guest's RDMA device has sent so far, by guest."""
        counter = f"/sys/class/infiniband/{DEVICE}/ports/1/hw_counters/sent_pkts"
        return {one.name: int(one.access.run(f"cat {counter}").stdout) for one in self.guests}

    def hosts(self, name: str = "hosts", **environ: Mapping[str, str]) -> Path:
        """A hosts file: stand-ins on the guests over rc. ``environ``: another environment for a role."""
        machines = {
            one.name: {"address": one.address, "ssh": one.name, "python": PYTHON} for one in self.guests
        }
        data = {
            "hosts": machines,
            "platforms": {"cuda": "prefill", "gaudi": "decode"},
            "router": "prefill",
            "standin": True,
            "roles": {role: {"env": {**UCX, **environ.get(role, {})}} for role in machines},
        }
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        return file


@contextmanager
def running(image: Image, folder: Path) -> Iterator[Lab]:
    """Boot two guests side by side; whatever happens, both have ended afterwards. Raises GuestDied."""
    folder.mkdir(parents=True, exist_ok=True)
    started: list[Guest] = []
    try:
        for again in range(_STARTS):
            place = folder / str(again)
            place.mkdir()
            started += _start(image, place)
            try:
                for guest in started:
                    guest.wait()
                break
            except GuestDied as died:
                if _TAKEN not in str(died) or again == _STARTS - 1:
                    raise
                _end(started)
        prefill, decode = started
        yield Lab(prefill, decode, prefill.access.config, place)
    finally:
        _end(started)


def _start(image: Image, folder: Path) -> list[Guest]:
    accesses = ssh.accesses(_GUESTS, folder)
    cables = [socket.socketpair() for _ in range(_CABLES)]
    started: list[Guest] = []
    try:
        ends_of_each = zip(*cables, strict=True)
        for number, (access, ends) in enumerate(zip(accesses, ends_of_each, strict=True), start=1):
            started.append(machine.start(number, image, access, ends))
    except BaseException:
        _end(started)
        raise
    finally:
        for end in chain(*cables):
            end.close()
    return started


def _end(guests: list[Guest]) -> None:
    while guests:
        guests.pop().end()
