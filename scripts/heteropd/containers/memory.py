"""Shared memory of containers on other hosts: `--ipc=host` leaves there what an engine did not unlink."""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import cast

from heteropd.containers import lifecycle, ssh_tunnel
from heteropd.containers.lifecycle import ContainerRef
from heteropd.system import parallel_map

_FOLDER = "/dev/shm/"  # noqa: S108 - where Linux keeps POSIX shared memory
_LOOK = f"cat /proc/[0-9]*/maps; ls -l /proc/[0-9]*/fd; echo; ls -i {_FOLDER}"
_MAPPED = re.compile(rf"^\S+ \S+ \S+ \S+ (\d+) +{_FOLDER}", re.MULTILINE)
_OPENED = re.compile(rf"-> {_FOLDER}([\w.-]+)")
_LISTED = re.compile(r"^ *(\d+) ([\w.-]+)$", re.MULTILINE)


def used(refs: Iterable[ContainerRef]) -> dict[ContainerRef, frozenset[str]]:
    """Names of segments that running containers of other hosts have open; those of this machine are found by
    process. Never fails: a container that has ended has none."""
    elsewhere = [ref for ref in refs if ref.docker_host.startswith(ssh_tunnel.SCHEME)]
    return dict(parallel_map(lambda ref: (ref, _used(ref)), elsewhere))


def named(text: str) -> frozenset[str]:
    """Segments that are mapped, by inode, for a semaphore has had another name; or open, by name."""
    mapped, opened = set(_MAPPED.findall(text)), set(_OPENED.findall(text))
    return frozenset(name for inode, name in _LISTED.findall(text) if inode in mapped or name in opened)


def remove(segments: dict[ContainerRef, frozenset[str]], images: dict[str, str]) -> None:
    """Remove segments from their hosts by a container of the role's image (by container id). Never fails."""
    todo = [(ref, names) for ref, names in segments.items() if names and ref.id in images]
    parallel_map(lambda item: _remove(item[0], item[1], images[item[0].id]), todo)


def _used(ref: ContainerRef) -> frozenset[str]:
    with suppress(Exception):
        container = lifecycle.client(ref.docker_host).containers.get(ref.id)
        output = container.exec_run(["sh", "-c", _LOOK]).output
        return named(cast("bytes", output).decode(errors="replace"))
    return frozenset()


def _remove(ref: ContainerRef, names: frozenset[str], image: str) -> None:
    with suppress(Exception):
        lifecycle.client(ref.docker_host).containers.run(
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
