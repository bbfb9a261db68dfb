"""Three hosts on a bridge, and what a user writes to reach them: an ssh configuration and a hosts file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from lab_nodes.host import Host
from labs.apt import must

NAMES = ("cuda-node", "gaudi-node", "proxy-node")
_NETWORK = "198.18.253"  # for tests of networks, RFC 2544
_PREFIX = "hpn"
_OURS = re.compile(rf"{_PREFIX}(\d+)")
_SSH = """Host {network}.*
  User root
  IdentityFile {folder}/id
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking yes
"""


@dataclass(frozen=True)
class Lab:
    """``ssh_config`` and ``hosts_file`` are what the kit is given; hosts by name.

    ``each_file`` says ``standin: true`` of each host instead of all, ``mixed_file`` of the Gaudi node alone.
    """

    folder: Path
    hosts: dict[str, Host]

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def hosts_file(self) -> Path:
        return self.folder / "hosts.yaml"

    @property
    def each_file(self) -> Path:
        return self.folder / "each.yaml"

    @property
    def mixed_file(self) -> Path:
        return self.folder / "mixed.yaml"

    def on(self, host: str, *argv: str) -> str:
        """Run a command on a host over ssh; what it printed. Fails unless it exits with 0."""
        words = ["ssh", "-F", str(self.ssh_config), self.hosts[host].address, "--", *argv]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """Put the lab up in ``folder``; nothing of it is left afterwards, nor of one that was killed before."""
    clear_dead()
    name = f"{_PREFIX}{os.getpid()}"
    hosts = {
        host: Host(f"{name}-{index}", f"{_NETWORK}.{index}", name, folder / host)
        for index, host in enumerate(NAMES, start=1)
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        must(["ip", "link", "add", name, "type", "bridge"])
        must(["ip", "address", "add", f"{_NETWORK}.254/24", "dev", name])
        must(["ip", "link", "set", name, "up"])
        # An engine on this machine drops what is bridged between others.
        must(["iptables", "-I", "FORWARD", *_within(name)])
        must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id")])
        for host in hosts.values():
            host.start()
        for host in hosts.values():
            host.until_ready()
        _write(folder, hosts)
        yield Lab(folder, hosts)
    finally:
        for host in hosts.values():
            host.ask_to_stop()
        for host in hosts.values():
            host.stop()
        _take_down(name)
        shutil.rmtree(folder, ignore_errors=True)


def clear_dead() -> None:
    """End and remove what labs have left whose test run was killed: they carry its process id."""
    spaces = Path("/run/netns")
    names = sorted(one.name for one in spaces.iterdir()) if spaces.exists() else []
    links = sorted(one.name for one in Path("/sys/class/net").iterdir())
    found = {match[1]: match[0] for name in names + links if (match := _OURS.match(name))}
    for pid, bridge in found.items():
        if psutil.pid_exists(int(pid)):
            continue
        for name in names:
            if name.startswith(f"{bridge}-"):
                Host(name, "", bridge, spaces / "no folder of a killed lab is known").stop()
        _take_down(bridge)


def _take_down(bridge: str) -> None:
    for undo in (["iptables", "-D", "FORWARD", *_within(bridge)], ["ip", "link", "delete", bridge]):
        with suppress(AssertionError):
            must(undo)


def _within(bridge: str) -> list[str]:
    return ["-i", bridge, "-o", bridge, "-j", "ACCEPT"]


def _write(folder: Path, hosts: dict[str, Host]) -> None:
    (folder / "ssh_config").write_text(_SSH.format(network=_NETWORK, folder=folder))
    known = [f"{host.address} {(host.folder / 'host_key.pub').read_text()}" for host in hosts.values()]
    (folder / "known_hosts").write_text("".join(known))
    for file, replaced in (("hosts", ()), ("each", NAMES[:2]), ("mixed", NAMES[1:2])):
        described = {
            name: {"address": host.address, "ssh": f"root@{host.address}"}
            | ({"standin": True} if name in replaced else {})
            for name, host in hosts.items()
        }
        given = {
            "hosts": described,
            "platforms": {"cuda": NAMES[0], "gaudi": NAMES[1]},
            "router": NAMES[2],
            "standin": not replaced,
            "parameters": {"runtime": "docker"},
        }
        (folder / f"{file}.yaml").write_text(yaml.safe_dump(given))
