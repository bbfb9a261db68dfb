"""Container engines: the one that answers, or one of the tests' own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import docker
from docker.errors import DockerException

from labs.apt import mirror, must, packages

HERE = Path(__file__).parent
_READY_S = 90.0
_STOP_S = 60.0
# Debian 12's own engine (20.10) lacks named build contexts; trixie's runs on it unchanged.
_TRIXIE = "docker.io docker-cli docker-buildx containerd"
_SOURCES = """Types: deb
URIs: {mirror}
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
_PREFERENCES = f"""Package: *
Pin: release n=trixie
Pin-Priority: -10

Package: {_TRIXIE}
Pin: release n=trixie
Pin-Priority: 990
"""


def answering() -> str | None:
    """The address of an engine that answers, as `docker` would find it."""
    url = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        client = docker.DockerClient(base_url=url, timeout=10)
        client.ping()
        client.close()
    except (DockerException, OSError):
        return None
    return url


def install() -> None:
    """Install an engine from the distribution's packages unless there is one. Needs root."""
    if shutil.which("dockerd") and _buildx():
        return
    assert os.getuid() == 0, "no container engine answers, and only root can install one; start Docker first"
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    if release.get("VERSION_CODENAME", "").strip('"') == "bookworm":
        sources = Path("/etc/apt/sources.list.d/heteropd-trixie.sources")
        sources.write_text(_SOURCES.format(mirror=mirror()))
        Path("/etc/apt/preferences.d/heteropd-trixie").write_text(_PREFERENCES)
    packages(*_TRIXIE.split(), "iptables", "iproute2")


@contextmanager
def daemon(folder: Path, *, second: bool = False) -> Iterator[str]:
    """An engine of our own with everything it keeps in ``folder``; yields its address.

    A second one on a machine gets a bridge of its own and leaves the packet filter alone. Not with
    ``bridge: none``: such a daemon removes the first one's docker0 when it starts.
    """
    with _bridge() if second else nullcontext() as bridge:
        yield from _daemon(folder, bridge)


@contextmanager
def _bridge() -> Iterator[str]:
    name = f"hpd{os.getpid()}"
    must(["ip", "link", "add", name, "type", "bridge"])
    try:
        must(["ip", "address", "add", "198.18.254.1/24", "dev", name])
        yield name
    finally:
        must(["ip", "link", "delete", name])


def _daemon(folder: Path, bridge: str | None) -> Iterator[str]:
    folder.mkdir(parents=True, exist_ok=True)
    shim = folder / "runtime"
    shutil.copy(HERE / "runtime_shim.py", shim)
    shim.chmod(0o755)
    # A Unix socket's path ends at 107 bytes.
    short = Path(tempfile.mkdtemp(prefix="hpd-"))
    url = f"unix://{short}/docker.sock"
    settings = {
        "data-root": str(folder / "data"),
        "exec-root": str(short / "exec"),
        "pidfile": str(folder / "dockerd.pid"),
        "hosts": [url],
        "features": {"containerd-snapshotter": True},
        "runtimes": {name: {"path": str(shim)} for name in ("heteropd", "habana")},
        "default-runtime": "heteropd",
        "insecure-registries": ["127.0.0.0/8"],
        "containerd-namespace": f"hpd-{os.getpid()}-{folder.name}",
        **({"bridge": bridge, "iptables": False, "ip-masq": False} if bridge else {}),
    }
    (folder / "daemon.json").write_text(json.dumps(settings, indent=2))
    before = _links()
    log = folder / "dockerd.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            ["dockerd", "--config-file", folder / "daemon.json"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != "DOCKER_HOST"},
        )
    try:
        _until_ready(url, process, log)
        yield url
    finally:
        _stop(process)
        for left in (short / "exec" / "netns").glob("*"):  # host networking's, which dockerd leaves mounted
            if os.path.ismount(left):
                must(["umount", str(left)])
        shutil.rmtree(short, ignore_errors=True)
        if "docker0" in _links() - before:  # an engine leaves its bridge behind; its packet filter rules stay
            must(["ip", "link", "delete", "docker0"])
        shutil.rmtree(folder, ignore_errors=True)  # some 20 GB that pytest would keep for three runs


def _links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        said = log.read_text(errors="replace")[-3000:]
        assert process.poll() is None, f"dockerd ended:\n{said}"
        try:
            client = docker.DockerClient(base_url=url, timeout=5)
            client.ping()
            client.close()
            return
        except (DockerException, OSError):
            assert time.monotonic() < deadline, f"dockerd is not ready after {_READY_S:g} s:\n{said}"
            time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _buildx() -> bool:
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0
