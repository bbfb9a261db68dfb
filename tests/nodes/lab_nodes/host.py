"""One host: a network namespace on the lab's bridge, an sshd and an engine in it, and a /run of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from lab import daemon

from labs.apt import must

_READY_S = 60.0
_STOP_S = 60.0
_START = """set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd
/usr/sbin/sshd -f "$1/sshd_config" -E "$1/sshd.log"
exec dockerd --config-file "$1/daemon.json"
"""


@dataclass
class Host:
    """``name`` is also its namespace's; ``address`` is in ``network``, the bridge's."""

    name: str
    address: str
    bridge: str
    folder: Path
    _engine: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def link(self) -> str:
        """Its end of the cable on the bridge's side, as this machine sees it."""
        return f"{self.name}-b"

    def start(self) -> None:
        """Put up the network, then sshd and the engine. Call `until_ready` afterwards."""
        self.folder.mkdir(parents=True)
        ip = ["ip", "-n", self.name]
        must(["ip", "netns", "add", self.name])
        must(["ip", "link", "add", self.link, "type", "veth", "peer", "eth0", "netns", self.name])
        must(["ip", "link", "set", self.link, "master", self.bridge, "up"])
        must([*ip, "address", "add", f"{self.address}/24", "dev", "eth0"])
        must([*ip, "link", "set", "eth0", "up"])
        must([*ip, "link", "set", "lo", "up"])
        # As the doctor's T3-59 asks: a network that is cut is noticed within two minutes.
        patience = "echo 8 >/proc/sys/net/ipv4/tcp_retries2"
        must(["nsenter", f"--net=/run/netns/{self.name}", "sh", "-c", patience])
        self._configure()
        # A namespace entered through `ip netns exec` has another /sys, without the engine's cgroups.
        enter = ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--mount", "--propagation", "private"]
        with (self.folder / "dockerd.log").open("wb") as log:
            self._engine = subprocess.Popen(
                [*enter, "sh", "-c", _START, "host", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={key: value for key, value in os.environ.items() if key != "DOCKER_HOST"},
            )

    def until_ready(self) -> None:
        """Return when sshd answers and the engine's socket is there."""
        assert self._engine is not None, "start comes first"
        deadline = time.monotonic() + _READY_S
        ready = "API listen on"
        while ready not in (said := self._said()) or not self._answers():
            assert self._engine.poll() is None, f"{self.name}: the engine ended:\n{said[-3000:]}"
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{said[-3000:]}"
            time.sleep(0.2)

    def ask_to_stop(self) -> None:
        """Have its engine end; `stop` waits for that."""
        if self._engine is not None and self._engine.poll() is None:
            self._engine.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End everything in its network, and take that away. Safe to repeat, and after half a start."""
        self.ask_to_stop()
        if self._engine is not None:
            with suppress(subprocess.TimeoutExpired):
                self._engine.wait(_STOP_S)
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        if Path("/run/netns", self.name).exists():
            must(["ip", "netns", "delete", self.name])
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Every process in its network."""
        try:
            mine = Path("/run/netns", self.name).stat().st_ino
        except FileNotFoundError:
            return []
        return [one for one in psutil.process_iter() if _network(one.pid) == mine]

    def received(self) -> int:
        """Bytes that came to it over the bridge so far."""
        counter = Path("/sys/class/net", self.link, "statistics/tx_bytes")  # what the bridge's end sent
        return int(counter.read_text())

    def _said(self) -> str:
        return (self.folder / "dockerd.log").read_text(errors="replace")

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), 1) as one:
                return one.recv(4) == b"SSH-"
        except OSError:
            return False

    def _configure(self) -> None:
        shim = self.folder / "runtime"
        shutil.copy(daemon.HERE / "runtime_shim.py", shim)
        shim.chmod(0o755)
        settings = {
            "data-root": str(self.folder / "data"),
            "features": {"containerd-snapshotter": True},
            "runtimes": {"heteropd": {"path": str(shim)}, "habana": {"path": str(shim)}},
            "default-runtime": "heteropd",
            "containerd-namespace": self.name,
        }
        (self.folder / "daemon.json").write_text(json.dumps(settings, indent=2))
        must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "host_key")])
        lines = {
            "ListenAddress": self.address,
            "HostKey": self.folder / "host_key",
            "PidFile": "none",
            "AuthorizedKeysFile": self.folder.parent / "id.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "MaxStartups": "100",
            "MaxSessions": "100",
        }
        text = "".join(f"{key} {value}\n" for key, value in lines.items())
        (self.folder / "sshd_config").write_text(text)


def _network(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None
