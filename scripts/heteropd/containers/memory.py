"""Shared memory of containers on other hosts: `--ipc=host` leaves there what an engine did not unlink."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import cast

from heteropd.containers import lifecycle, ssh_tunnel
from heteropd.containers.lifecycle import ContainerRef

_FOLDER = "/dev/shm/"  # noqa: S108 - where Linux keeps POSIX shared memory
_LOOK = f"cat /proc/[0-9]*/maps; ls -l /proc/[0-9]*/fd; echo; ls -i {_FOLDER}"
_MAPPED = re.compile(rf"^\S+ \S+ \S+ \S+ (\d+) +{_FOLDER}", re.MULTILINE)
_OPENED = re.compile(rf"-> {_FOLDER}([\w.-]+)")
_THERE = re.compile(r"^ *(\d+) ([\w.-]+)$", re.MULTILINE)


def used(refs: Iterable[ContainerRef]) -> dict[ContainerRef, frozenset[str]]:
    """Names of segments that running containers of other hosts have open; those of this machine are found by
    process. Never fails: a container that has ended has none."""
    there = [ref for ref in refs if ref.engine.startswith(ssh_tunnel.SCHEME)]
    with ThreadPoolExecutor(max_workers=max(len(there), 1)) as pool:
        return dict(zip(there, pool.map(_used, there), strict=True))


def named(text: str) -> frozenset[str]:
    """Segments that are mapped, by inode, for a semaphore has had another name; or open, by name."""
    mapped, opened = set(_MAPPED.findall(text)), set(_OPENED.findall(text))
    return frozenset(name for inode, name in _THERE.findall(text) if inode in mapped or name in opened)


def remove(segments: dict[ContainerRef, frozenset[str]], images: dict[str, str]) -> None:
    """Remove segments from their hosts by a container of the role's image (by container id). Never fails."""
    found = [(ref, names) for ref, names in segments.items() if names and ref.id in images]
    with ThreadPoolExecutor(max_workers=max(len(found), 1)) as pool:
        list(pool.map(lambda one: _remove(one[0], one[1], images[one[0].id]), found))


def _used(ref: ContainerRef) -> frozenset[str]:
    with suppress(Exception):
        done = lifecycle.client(ref.engine).containers.get(ref.id).exec_run(["sh", "-c", _LOOK])
        return named(cast("bytes", done.output).decode(errors="replace"))
    return frozenset()


def _remove(ref: ContainerRef, names: frozenset[str], image: str) -> None:
    with suppress(Exception):
        lifecycle.client(ref.engine).containers.run(
            image,
            ["rm", "-f", *(f"{_FOLDER}{name}" for name in sorted(names))],
            ipc_mode="host",
            network_mode="none",
            user="0:0",
            labels={"io.heteropd.task": "shared-memory"},
            remove=True,
        )
