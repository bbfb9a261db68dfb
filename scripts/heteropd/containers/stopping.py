"""Ending containers: stopped with their grace, or removed at once, each by its id and on its own host."""

import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from docker import DockerClient
from docker.errors import APIError, NotFound

from heteropd.containers import docker_host
from heteropd.containers.lifecycle import TOPOLOGY, ContainerRef, away, client, listed, own_labels
from heteropd.errors import KitError
from heteropd.system import parallel_map

Outcome = Literal["stopped", "killed", "was not running", "still running", "not reached"]

_KILLED = 137  # 128 + SIGKILL
_GONE_S = 60.0


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
