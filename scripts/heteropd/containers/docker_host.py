"""A Docker host, this machine or another: reached through its socket, judged before it is used."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker import DockerClient
from docker.errors import DockerException
from requests.exceptions import RequestException

from heteropd.config.images import EngineVersions
from heteropd.containers import ssh_tunnel
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.system import CommandRunner

_SOCKET = "unix:///var/run/docker.sock"
_TIMEOUT_S = 120


def address() -> str:
    """Where this machine's Docker listens: DOCKER_HOST, or the usual socket."""
    return os.environ.get("DOCKER_HOST") or _SOCKET


def of_host(ssh: str | None, socket: str | None = None) -> str:
    """The Docker of a plan's host, over ssh where it is reached so; at ``socket`` there, if given."""
    if ssh:
        return ssh_tunnel.SCHEME + ssh + (socket or "")
    return f"unix://{socket}" if socket else address()


def present() -> bool:
    """True where Docker may answer; cheap, and without a connection."""
    where = address()
    return not where.startswith("unix://") or Path(where.removeprefix("unix://")).exists()


def connect(needs: EngineVersions | None = None, url: str | None = None) -> DockerClient:
    """A client of a Docker host. Raises MissingPrerequisite when none answers, or when it is too old."""
    where = url or address()
    reached = ssh_tunnel.local(where)
    try:
        client = docker.DockerClient(base_url=reached, timeout=_TIMEOUT_S)
        version = str(client.version()["Version"])
    except (DockerException, OSError) as problem:
        raise MissingPrerequisite(
            f"no container engine answers at {where} ({_last(problem)})",
            "install and start Docker (https://docs.docker.com/engine/install/), or name another with"
            " DOCKER_HOST",
        ) from None
    if needs is not None:
        require_at_least("Docker", version, needs.docker)
    return client


def require_buildx(runner: CommandRunner, needs: EngineVersions) -> None:
    """Raise MissingPrerequisite unless `docker buildx` is there and new enough."""
    done = runner.run(["docker", "buildx", "version"])
    version = re.search(r"\bv?(\d+\.\d+(\.\d+)?)", done.out)
    if done.code != 0 or version is None:
        raise MissingPrerequisite(
            "docker buildx is missing", "install it (Debian, Ubuntu: apt install docker-buildx)"
        )
    require_at_least("docker buildx", version[1], needs.buildx)


def require_at_least(what: str, version: str, oldest: str) -> None:
    """Raise MissingPrerequisite for a version older than ``oldest``."""
    if _numbers(version) < _numbers(oldest):
        raise MissingPrerequisite(
            f"{what} {version} is too old", f"{oldest} or newer is needed: update it from docs.docker.com"
        )


@contextmanager
def reported(where: str) -> Iterator[None]:
    """Turns what docker-py raises into one line: a full disk, a registry that refuses, a lost host."""
    try:
        yield
    except (DockerException, RequestException) as problem:
        raise explained(where, str(problem)) from None


def explained(where: str, said: str) -> KitError:
    """What Docker, BuildKit or a registry said, with the fix where it is a known trouble."""
    text = _last(said)
    for pattern, problem, fix in _TROUBLES:
        if re.search(pattern, said, re.IGNORECASE):
            return BadInput(where, None, None, f"{problem}: {text}", fix)
    return KitError(f"{where}: {text}")


_TROUBLES = (
    (
        r"no space left on device|disk quota exceeded",
        "Docker's disk is full",
        "free some space: `docker system df`, `docker buildx prune`",
    ),
    (
        r"unauthorized|authentication required|access denied|denied: ",
        "the registry refuses",
        "log in (`docker login REGISTRY`) with an account that may do this",
    ),
    (
        r"http: server gave HTTP response to HTTPS client",
        "the registry does not speak TLS",
        "list it under insecure-registries in Docker's daemon.json, or give it a certificate",
    ),
    (
        r"manifest unknown|not found: manifest|: not found$|pull access denied|no such manifest",
        "there is no such image",
        "check the name and the digest; a tag may have been removed upstream (make lock check=1)",
    ),
    (
        r"connection refused|no such host|i/o timeout|TLS handshake timeout|dial tcp|failure in name",
        "cannot be reached",
        "check the network, or name a mirror (docs/images.md)",
    ),
    (
        r"HASHES|hash mismatch|hashes? (do|does) not match|Hash mismatch",
        "a package is not the one that was locked",
        "do not go on: find out who changed it; `make relock` only if the new one is meant",
    ),
)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _last(problem: object) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "no reason given"
