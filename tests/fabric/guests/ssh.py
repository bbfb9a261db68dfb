"""Keys of the lab's own, an ssh_config for the kit, and commands on guests."""

from __future__ import annotations

import shlex
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ENTRY = """Host {name}
  HostName 127.0.0.1
  Port {port}
  User engine
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  HostKeyAlias {name}
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 20
  LogLevel ERROR
  ControlMaster auto
  ControlPath {folder}/%n-%r
  ControlPersist 300

"""


@dataclass(frozen=True)
class Access:
    """How one guest is reached. Its host key is made here and given to it, so that it can be verified."""

    name: str
    port: int
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def public_key(self) -> Path:
        return self.folder / "key.pub"

    @property
    def host_key(self) -> Path:
        return self.folder / f"{self.name}.hostkey"

    def run(
        self, command: str, *, user: str = "root", timeout_s: float = 120, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on the guest. ``check``: it must succeed."""
        argv = ["ssh", "-F", str(self.config), "-l", user, self.name, "--", "sh -c " + shlex.quote(command)]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done

    def hang_up(self, user: str) -> None:
        """End the connection that this user's commands share; the next command logs in anew."""
        argv = ["ssh", "-F", str(self.config), "-l", user, "-O", "exit", self.name]
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)

    def answers(self) -> bool:
        """True once a command runs there."""
        try:
            return self.run("true", check=False, timeout_s=30).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def accesses(names: tuple[str, ...], folder: Path) -> list[Access]:
    """Make keys and configuration for guests of these names in ``folder``, which only we may read."""
    folder.chmod(0o700)
    made = [Access(name, free_port(), folder) for name in names]
    for key in (folder / "key", *(one.host_key for one in made)):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    known = [f"{one.name} {one.host_key.with_suffix('.hostkey.pub').read_text()}" for one in made]
    (folder / "known_hosts").write_text("".join(known))
    entries = [_ENTRY.format(name=one.name, port=one.port, folder=folder) for one in made]
    (folder / "ssh_config").write_text("".join(entries))
    return made


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
