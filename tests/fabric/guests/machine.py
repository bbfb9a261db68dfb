"""One guest under QEMU: started, watched, always ended."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guests.image import Image
from guests.ssh import Access

# A guest's ends of the cables to the other one: connected sockets take no port, and nobody else hears them.
Cables = Sequence[socket.socket]

BOOT_S = 240.0
_MEMORY = "4096"  # two stand-in engines' worth for the doctor; the host gives what is touched
_READY = "lab-init: ready"
_TAIL = 3000


class GuestDied(AssertionError):
    """A guest ended, or did not answer in time; carries the end of its console."""


@dataclass
class Guest:
    """A running guest. ``process`` is our child, so its pid stays its own until we have waited for it."""

    name: str
    address: str
    access: Access
    console: Path
    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Wait until ssh answers. Raises GuestDied."""
        deadline = time.monotonic() + BOOT_S
        # A handshake costs an emulated CPU seconds, so it is not tried before init is through.
        while not (self._ready() and self.access.answers()):
            self.check()
            if time.monotonic() > deadline:
                raise GuestDied(f"{self.name} does not answer after {BOOT_S:g} s:\n{self.said()}")
            time.sleep(0.3)

    def _ready(self) -> bool:
        return self.console.exists() and _READY in self.console.read_text(errors="replace")

    def check(self) -> None:
        """Raises GuestDied when QEMU has ended."""
        if (code := self.process.poll()) is not None:
            raise GuestDied(f"QEMU of {self.name} ended with status {code}:\n{self.said()}")

    def said(self) -> str:
        """The end of QEMU's own words and of the console."""
        texts = [self.console.with_suffix(".qemu"), self.console]
        return "\n".join(one.read_text(errors="replace")[-_TAIL:] for one in texts if one.exists())

    def end(self) -> None:
        """End it: its disk is thrown away, so nothing is lost by not shutting down."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def start(number: int, image: Image, access: Access, cables: Cables) -> Guest:
    """Start QEMU; returns at once. Its addresses on the cables end in ``number``."""
    name, folder = access.name, access.folder
    console = folder / f"{name}.console"
    given = {"name": folder / f"{name}.name", "number": folder / f"{name}.number"}
    given["name"].write_text(name)
    given["number"].write_text(str(number))
    argv = _machine(image, console) + _networks(access.port, number, cables)
    for key, file in {**given, "authorized_keys": access.public_key, "host_key": access.host_key}.items():
        argv += ["-fw_cfg", f"name=opt/org.heteropd/{key},file={file}"]
    with console.with_suffix(".qemu").open("wb") as words:
        # If we are killed the kernel ends it; it follows the thread that started it, so that is the main one.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            pass_fds=[end.fileno() for end in cables],
        )
    return Guest(name, f"10.77.0.{number}", access, console, process)


def processor() -> list[str]:
    """Options for KVM where this machine can run guests at full speed, else for QEMU's own emulation."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    # A machine that is a guest itself may have /dev/kvm without the CPU for it: guests then stand still.
    usable = flags & {"vmx", "svm"} and os.access("/dev/kvm", os.R_OK | os.W_OK)
    if usable:
        return ["-accel", "kvm", "-cpu", "host"]
    # The oldest CPU that UCX of NIXL 1.4 runs on, which was built for AVX: wide vectors are slow to emulate.
    return ["-accel", "tcg,thread=multi", "-cpu", "SandyBridge"]


def _machine(image: Image, console: Path) -> list[str]:
    kernel = "root=/dev/vda rw rootfstype=ext4 console=ttyS0 net.ifnames=0 init=/sbin/lab-init"
    # QEMU translates a library's code anew wherever it is mapped: at fixed addresses a program starts three
    # times as fast.
    emulated = "norandmaps init_on_alloc=0"
    return [
        *("qemu-system-x86_64", "-machine", "q35", *processor()),
        *("-smp", "1", "-m", _MEMORY, "-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
        *("-append", f"{kernel} {emulated} panic=-1 mitigations=off quiet"),
        *("-drive", f"file={image.disk},if=virtio,format=raw,cache=unsafe", "-snapshot"),
        *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
        *("-serial", f"file:{console}"),
    ]


def _networks(port: int, number: int, cables: Cables) -> list[str]:
    """eth0 leads nowhere but from our loopback to its ssh; the rest are cables."""
    forward = f"hostfwd=tcp:127.0.0.1:{port}-:22"
    argv = ["-netdev", f"user,id=n0,restrict=on,{forward}", "-device", "virtio-net-pci,netdev=n0,romfile="]
    for index, end in enumerate(cables, start=1):
        mac = f"52:54:00:77:{index:02x}:{number:02x}"
        argv += ["-netdev", f"socket,id=n{index},fd={end.fileno()}"]
        argv += ["-device", f"virtio-net-pci,netdev=n{index},romfile=,mac={mac}"]
    return argv
