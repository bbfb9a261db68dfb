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

from heteropd.config import hints
from heteropd.config.hosts import Host
from heteropd.config.images import EngineVersions
from heteropd.containers import ssh_tunnel
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.plan.model import HostPlan, Plan
from heteropd.system import CommandRunner

_SOCKET = "unix:///var/run/docker.sock"
_TIMEOUT_S = 120


def address() -> str:
    """Where this machine's Docker listens: DOCKER_HOST, or the usual socket."""
    return os.environ.get("DOCKER_HOST") or _SOCKET


def of_host(host: Host | HostPlan) -> str:
    """The Docker of a host, over ssh where it is reached so; at the socket there that the host names."""
    if host.ssh:
        return ssh_tunnel.SCHEME + host.ssh + (host.docker or "")
    return f"unix://{host.docker}" if host.docker else address()


def of_plan(plan: Plan) -> list[str]:
    """The Docker hosts of a plan, each once; none where its roles are processes."""
    roles = plan.roles if plan.runtime == "docker" else []
    return list(dict.fromkeys(of_host(role.host) for role in roles))


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
        fix = "install it (Debian, Ubuntu: apt install docker-buildx)"
        raise MissingPrerequisite("docker buildx is missing", fix)
    require_at_least("docker buildx", version[1], needs.buildx)


def require_at_least(what: str, version: str, oldest: str) -> None:
    """Raise MissingPrerequisite for a version older than ``oldest``."""
    if _numbers(version) < _numbers(oldest):
        fix = f"{oldest} or newer is needed: update it from docs.docker.com"
        raise MissingPrerequisite(f"{what} {version} is too old", fix)


@contextmanager
def reported(where: str) -> Iterator[None]:
    """Turns what docker-py raises into one line: a full disk, a registry that refuses, a lost host."""
    try:
        yield
    except (DockerException, RequestException) as problem:
        raise explained(where, str(problem)) from None


def explained(where: str, said: str) -> KitError:
    """What Docker, BuildKit or a registry said, with the fix where env/hints.yaml has one."""
    text = _last(said)
    if hint := hints.first(hints.load().docker, said):
        return BadInput(where, None, None, f"{hint.problem}: {text}", hint.fix)
    return KitError(f"{where}: {text}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _last(problem: object) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "no reason given"
