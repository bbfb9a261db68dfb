"""What an engine must have before containers can be made: images, and a model where no folder is shared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from docker import DockerClient
from docker.errors import ImageNotFound, NotFound

from heteropd.containers import archives, docker_host, lifecycle

Say = Callable[[str], None]

_TIMEOUT_S = 3600  # an engine says nothing while it unpacks
_HEARTBEAT_S = 15.0
_CHUNK = 2**22
TASK = {"io.heteropd.task": "ship"}


def image(name: str, url: str, local: str, say: Say) -> Mapping[str, Any] | None:
    """Make an image present on the engine at ``url``; what the engine says of it, None if it cannot be had.

    An image by digest is pulled. Any other comes from the ``local`` engine, unless the very same is there.
    Raises KitError for an engine or a registry that refuses.
    """
    with docker_host.reported(name):
        there = _inspect(lifecycle.client(url), name)
        if "@sha256:" in name:
            if there is None:
                say(f"pulling {name} (once per engine) …")
                there = lifecycle.client(url).images.pull(name).attrs
            return there
        if url == local or not docker_host.present():
            return there
        here = _inspect(lifecycle.client(local), name)
        if here is None or (there is not None and there["Id"] == here["Id"]):
            return there
        _ship(name, local, url, say)
        return _inspect(lifecycle.client(url), name)


def model(folder: Path, url: str, helper: str, say: Say) -> str:
    """Make a model's folder present on the engine at ``url`` as a volume; its name.

    ``helper`` is any image there. config.json comes last: a volume that has it is whole. Raises KitError.
    """
    volume = f"heteropd-model-{folder.name}".lower()
    with docker_host.reported(volume), closing(docker_host.connect(url=url)) as one:
        one.api.timeout = _TIMEOUT_S
        made = one.containers.create(helper, ["true"], volumes=[f"{volume}:/model"], labels=TASK, user="0:0")
        try:
            try:
                made.get_archive("/model/config.json")
            except NotFound:
                say(f"copying the model {folder.name} to {url} (once per engine) …")
                with archives.folder(folder) as stream:
                    made.put_archive("/model", stream)
        finally:
            made.remove(force=True)
    return volume


def _inspect(one: DockerClient, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = one.images.get(name).attrs
    except ImageNotFound:
        return None
    return found


def _ship(name: str, local: str, url: str, say: Say) -> None:
    with closing(docker_host.connect(url=local)) as here, closing(docker_host.connect(url=url)) as there:
        here.api.timeout = there.api.timeout = _TIMEOUT_S
        say(f"sending {name} to {url} …")
        chunks = here.api.get_image(name, chunk_size=_CHUNK)
        there.images.load(cast("bytes", _told(chunks, f"sending {name} to {url}", say)))  # sent as it comes


def _told(chunks: Iterator[bytes], what: str, say: Say) -> Iterator[bytes]:
    sent, told = 0, time.monotonic()
    for chunk in chunks:
        yield chunk
        sent += len(chunk)
        if time.monotonic() - told >= _HEARTBEAT_S:
            told = time.monotonic()
            say(f"{what}: {sent / 1e6:.0f} MB so far")
