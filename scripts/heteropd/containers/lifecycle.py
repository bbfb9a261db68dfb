"""The docker runtime: a role of the plan as a container, found again by its labels and ended by its id."""

import io
import os
import platform
import re
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import DockerException
from pydantic import ConfigDict, Field
from requests.exceptions import RequestException

from heteropd.config.types import Data
from heteropd.containers import docker_host, ssh_tunnel
from heteropd.errors import KitError

# As `docker run --entrypoint ""`: what a plan says is the whole command, whatever the image would start.
NO_ENTRYPOINT = [""]
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
STATE, OWNER, TOPOLOGY, ROLE, FINGERPRINT, PLAN = (
    f"io.heteropd.{name}" for name in ("state", "owner", "topology", "role", "fingerprint", "plan")
)


class ContainerRef(Data):
    """Who a container is: its id, for Docker; its name, for people; and the Docker host that has it."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    id: str
    name: str
    docker_host: str = Field(alias="engine")


@dataclass(frozen=True)
class ContainerLaunch:
    """A container, ready to be made. ``options`` are docker-py's; ``argv`` and ``env`` are rendered.

    ``secrets``: files of the container, by their path, that nobody sees from outside.
    """

    name: str
    image: str
    argv: list[str]
    env: dict[str, str]
    labels: dict[str, str]
    options: dict[str, Any]
    log: Path
    secrets: Mapping[str, str] = field(default_factory=dict)


def client(url: str) -> DockerClient:
    """The client of a Docker host, kept: topologies are looked at several times a second.

    Raises MissingPrerequisite.
    """
    return _client(url, ssh_tunnel.local(url))


@lru_cache
def _client(url: str, reached: str) -> DockerClient:
    del reached  # another one when ssh had to connect again
    return docker_host.connect(url=url)


def labels(state_dir: Path, topology_id: str, role: str, fingerprint: str) -> dict[str, str]:
    """What a container of a topology is found by: on a host that several machines use, by their names too."""
    return {
        STATE: str(state_dir),
        OWNER: platform.node(),
        TOPOLOGY: topology_id,
        ROLE: role,
        FINGERPRINT: fingerprint,
    }


def start(launch: ContainerLaunch, url: str) -> ContainerRef:
    """Make the container and start it. Raises KitError; a container that did not start is gone then."""
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    launch.log.unlink(missing_ok=True)
    options = dict(launch.options)
    environment = {**options.pop("environment", {}), **launch.env}
    with docker_host.reported(launch.name):
        made = client(url).containers.create(
            launch.image,
            entrypoint=NO_ENTRYPOINT,
            command=launch.argv,
            name=launch.name,
            labels=launch.labels,
            environment=environment,
            use_config_proxy=False,  # a proxy of ~/.docker/config.json is nobody's wish for engines
            **options,
        )
        try:
            for path, text in launch.secrets.items():
                made.put_archive("/", secret(path, text))
            made.start()
        except BaseException:
            made.remove(force=True, v=True)
            raise
    return ContainerRef(id=str(made.id), name=launch.name, docker_host=url)


def alive(ref: ContainerRef) -> bool:
    """True while the container runs; False when it has ended, is gone, or its host does not answer."""
    return bool(_state(ref).get("Running"))


def away(url: str) -> str | None:
    """Why a Docker host does not answer, so that nobody knows what its containers do; None when it does."""
    try:
        with docker_host.reported(url):
            client(url).ping()
    except KitError as problem:
        return str(problem)
    return None


def exit_status(ref: ContainerRef) -> int | None:
    """As a process's: negative for a signal. None while it runs or when nobody knows."""
    state = _state(ref)
    if not state or state.get("Running"):
        return None
    code = int(state.get("ExitCode", 0))
    return 128 - code if code > 128 else code


def pids(ref: ContainerRef) -> set[int]:
    """Processes of the container, as this machine numbers them; empty on another host."""
    if ref.docker_host.startswith(ssh_tunnel.SCHEME):
        return set()
    with suppress(Exception):
        top = client(ref.docker_host).api.top(ref.id)
        column = top["Titles"].index("PID")
        return {int(row[column]) for row in top["Processes"]}
    return set()


def copy_log(ref: ContainerRef, log: Path) -> None:
    """Bring the role's log file up to date with what the container has said. Never fails: logs are a help."""
    with suppress(Exception):
        beside = log.with_suffix(".log.since")
        since = beside.read_text() if log.exists() and beside.exists() else ""
        block = client(ref.docker_host).api.logs(
            ref.id, stdout=True, stderr=True, timestamps=True, since=_seconds(since)
        )
        last, fresh = since, []
        for line in block.split(b"\n"):  # not splitlines: progress bars hold carriage returns
            stamp, _, text = line.decode(errors="replace").partition(" ")
            if _STAMP.fullmatch(stamp) and stamp > since:
                fresh.append(text + "\n")
                last = stamp
        if fresh:
            log.parent.mkdir(parents=True, exist_ok=True)  # the first that this state folder hears of it
            with log.open("a") as stream:
                stream.write("".join(fresh))
            beside.write_text(last)


def find(url: str, state_dir: Path | None = None) -> dict[ContainerRef, Mapping[str, str]]:
    """Containers, running or not, of any topology of the state folder, or of any at all, with their labels.
    Raises KitError."""
    with docker_host.reported("containers"):
        rows = listed(client(url), own_labels(state_dir) if state_dir else [TOPOLOGY])
    return {
        ContainerRef(id=row["Id"], name=row["Names"][0].lstrip("/"), docker_host=url): row["Labels"]
        for row in rows
    }


def own_labels(state_dir: Path) -> list[str]:
    """What containers of a state folder, started by this machine, are found by."""
    return [f"{STATE}={state_dir}", f"{OWNER}={platform.node()}"]


def listed(client: DockerClient, labels: list[str]) -> list[dict[str, Any]]:
    """Containers with these labels, running or not, as Docker's API gives them."""
    rows: list[dict[str, Any]] = client.api.containers(all=True, filters={"label": labels})
    return rows


def _state(ref: ContainerRef) -> dict[str, Any]:
    try:
        state: dict[str, Any] = client(ref.docker_host).api.inspect_container(ref.id)["State"]
    except (DockerException, RequestException, KitError):
        return {}
    return state


def secret(path: str, text: str) -> bytes:
    """As Docker takes it, at / of a container: a file at ``path`` that its processes can read."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        data = text.encode()
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(data), 0o444
        tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def _seconds(stamp: str) -> int | None:
    """Docker's time stamp (2025-12-01T00:00:00.000000000Z) in whole Unix seconds, for ``since``."""
    return int(datetime.fromisoformat(stamp[:19] + "+00:00").timestamp()) if stamp else None


def default_user() -> str | None:
    """Whose files a container on this machine may read and leave: the caller's, unless that is root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else None
