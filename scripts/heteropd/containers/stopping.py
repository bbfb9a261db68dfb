"""Ending containers: stopped with their grace, or removed at once, each by its id and on its own host; and
removing the shared memory that they leave on another machine."""

import re
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from docker import DockerClient
from docker.errors import APIError, NotFound

from heteropd.containers import docker_host, lifecycle, ssh_tunnel
from heteropd.containers.lifecycle import TOPOLOGY, ContainerRef, away, client, listed, own_labels
from heteropd.errors import KitError
from heteropd.system import parallel_map

Outcome = Literal["stopped", "killed", "was not running", "still running", "not reached"]

_KILLED = 137  # 128 + SIGKILL
_GONE_S = 60.0
_FOLDER = "/dev/shm/"  # noqa: S108 - where Linux keeps POSIX shared memory
_LOOK = f"cat /proc/[0-9]*/maps; ls -l /proc/[0-9]*/fd; echo; ls -i {_FOLDER}"
_MAPPED = re.compile(rf"^\S+ \S+ \S+ \S+ (\d+) +{_FOLDER}", re.MULTILINE)
_OPENED = re.compile(rf"-> {_FOLDER}([\w.-]+)")
_LISTED = re.compile(r"^ *(\d+) ([\w.-]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Swept:
    """How many containers were removed, and which Docker hosts did not answer."""

    removed: int
    missed: tuple[str, ...] = ()


def stop(refs: Iterable[ContainerRef], grace_s: float) -> dict[str, Outcome]:
    """Stop containers side by side: SIGTERM, and SIGKILL after ``grace_s`` seconds; what each took, by id."""
    return dict(parallel_map(lambda ref: (ref.id, _stop(ref, grace_s)), refs))


def remove(ref: ContainerRef) -> None:
    """Remove one container at once, running or not. Raises KitError when its host does not answer."""
    with docker_host.reported(ref.name):
        _remove(client(ref.docker_host), ref.id)


def sweep(urls: Iterable[str], state_dir: Path, topology_id: str | None) -> Swept:
    """Remove containers of a topology (of all of the state folder for None) at once, on all Docker hosts side
    by side.

    Safe in a signal handler, in a guard, and twice at a time: it uses connections of its own.
    """
    counts = dict(parallel_map(lambda url: (url, _sweep(url, state_dir, topology_id)), dict.fromkeys(urls)))
    missed = tuple(url for url, count in counts.items() if count is None)
    return Swept(sum(count or 0 for count in counts.values()), missed)


def _sweep(url: str, state_dir: Path, topology_id: str | None) -> int | None:
    """How many containers one Docker host had; None when it did not answer."""
    with suppress(KitError), docker_host.reported("containers"), closing(docker_host.connect(url=url)) as own:
        # A topology's name is unique; a state folder has the same path on many machines.
        rows = listed(own, [f"{TOPOLOGY}={topology_id}"] if topology_id else own_labels(state_dir))
        parallel_map(lambda row: _remove(own, row["Id"]), rows)
        return len(rows)
    return None


def _stop(ref: ContainerRef, grace_s: float) -> Outcome:
    try:
        with docker_host.reported(ref.name):
            return _outcome(client(ref.docker_host), ref.id, grace_s)
    except KitError:
        if away(ref.docker_host):
            return "not reached"
        raise


def _outcome(client: DockerClient, container_id: str, grace_s: float) -> Outcome:
    try:
        if not client.api.inspect_container(container_id)["State"]["Running"]:
            return "was not running"
        _stop_or_wait(client, container_id, grace_s)
        state = client.api.inspect_container(container_id)["State"]
    except NotFound:
        return "was not running"
    if state["Running"]:
        return "still running"
    return "killed" if state["ExitCode"] == _KILLED else "stopped"


def _stop_or_wait(client: DockerClient, container_id: str, grace_s: float) -> None:
    """Docker gives up on a process ten seconds after it was killed ("is zombie and can not be killed"), while
    the kernel still takes its gigabytes back: then wait until it is gone."""
    try:
        client.api.stop(container_id, timeout=int(grace_s))
    except APIError as refusal:
        if refusal.status_code != 500:
            raise
        deadline = time.monotonic() + _GONE_S
        while client.api.inspect_container(container_id)["State"]["Running"]:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _remove(client: DockerClient, container_id: str) -> None:
    """Docker refuses while somebody else removes it at this very moment (409), and gives up as in
    `_stop_or_wait` (500)."""
    deadline = time.monotonic() + _GONE_S
    while True:
        try:
            client.api.remove_container(container_id, force=True, v=True)
            return
        except NotFound:
            return
        except APIError as refusal:
            if refusal.status_code not in (409, 500) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def used_segments(refs: Iterable[ContainerRef]) -> dict[ContainerRef, frozenset[str]]:
    """Names of segments that running containers of other hosts have open; those of this machine are found by
    process. Never fails: a container that has ended has none."""
    elsewhere = [ref for ref in refs if ref.docker_host.startswith(ssh_tunnel.SCHEME)]
    return dict(parallel_map(lambda ref: (ref, _segments(ref)), elsewhere))


def named_segments(text: str) -> frozenset[str]:
    """Segments that are mapped, by inode, for a semaphore has had another name; or open, by name."""
    mapped, opened = set(_MAPPED.findall(text)), set(_OPENED.findall(text))
    return frozenset(name for inode, name in _LISTED.findall(text) if inode in mapped or name in opened)


def remove_segments(segments: dict[ContainerRef, frozenset[str]], images: dict[str, str]) -> None:
    """Remove what an engine did not unlink, and `--ipc=host` leaves on its host, by a container of the
    role's image (by container id). Never fails."""
    todo = [(ref, names) for ref, names in segments.items() if names and ref.id in images]
    parallel_map(lambda item: _remove_names(item[0], item[1], images[item[0].id]), todo)


def _segments(ref: ContainerRef) -> frozenset[str]:
    with suppress(Exception):
        container = client(ref.docker_host).containers.get(ref.id)
        output = container.exec_run(["sh", "-c", _LOOK]).output
        return named_segments(cast("bytes", output).decode(errors="replace"))
    return frozenset()


def _remove_names(ref: ContainerRef, names: frozenset[str], image: str) -> None:
    with suppress(Exception):
        client(ref.docker_host).containers.run(
            image,
            ["rm", "-f", *(f"{_FOLDER}{name}" for name in sorted(names))],
            entrypoint=lifecycle.NO_ENTRYPOINT,
            ipc_mode="host",
            network_mode="none",
            user="0:0",
            labels={"io.heteropd.task": "shared-memory"},
            remove=True,
            use_config_proxy=False,
        )
