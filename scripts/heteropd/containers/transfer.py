"""What a Docker host must have before containers are made: images, and a model where no folder is shared."""

import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any, cast

from docker import DockerClient
from docker.errors import ImageNotFound, NotFound

from heteropd.containers import docker_host, lifecycle

Say = Callable[[str], None]

_TIMEOUT_S = 3600  # Docker says nothing while it unpacks
_HEARTBEAT_S = 15.0
_CHUNK = 2**22
_TASK = {"io.heteropd.task": "ship"}


def image(name: str, url: str, local: str, say: Say) -> Mapping[str, Any] | None:
    """Make an image present on the Docker host at ``url``; its attributes, None if it cannot be had.

    An image by digest is pulled. Any other comes from the ``local`` Docker, unless the very same is there.
    Raises KitError for a host or a registry that refuses.
    """
    with docker_host.reported(name):
        present = _inspect(lifecycle.client(url), name)
        if "@sha256:" in name:
            if present is None:
                say(f"pulling {name} (once per host) …")
                present = lifecycle.client(url).images.pull(name).attrs
            return present
        if url == local or not docker_host.present():
            return present
        ours = _inspect(lifecycle.client(local), name)
        if ours is None or (present is not None and present["Id"] == ours["Id"]):
            return present
        _send(name, local, url, say)
        return _inspect(lifecycle.client(url), name)


def model(folder: Path, url: str, helper: str, say: Say) -> str:
    """Make a model's folder present on the Docker host at ``url`` as a volume; its name.

    ``helper`` is any image there. config.json comes last: a volume that has it is whole. Raises KitError.
    """
    volume = f"heteropd-model-{folder.name}".lower()
    with docker_host.reported(volume), closing(docker_host.connect(url=url)) as client:
        client.api.timeout = _TIMEOUT_S
        container = client.containers.create(
            helper,
            ["true"],
            entrypoint=lifecycle.NO_ENTRYPOINT,
            volumes=[f"{volume}:/model"],
            labels=_TASK,
            user="0:0",
            use_config_proxy=False,
        )
        try:
            try:
                container.get_archive("/model/config.json")
            except NotFound:
                say(f"copying the model {folder.name} to {url} (once per host) …")
                with archive(folder) as stream:
                    container.put_archive("/model", stream)
        finally:
            container.remove(force=True)
    return volume


def archive(path: Path) -> IO[bytes]:
    """The folder's files as Docker takes them, readable by anybody, config.json last: a file to be closed."""
    stream = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's to close
    with tarfile.open(fileobj=stream, mode="w") as tar:
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        for file in sorted(files, key=lambda file: file.name == "config.json"):
            entry = tar.gettarinfo(str(file), str(file.relative_to(path)))
            entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o644, 0, 0, "", ""
            with file.open("rb") as content:
                tar.addfile(entry, content)
    stream.seek(0)
    return stream


def _inspect(client: DockerClient, name: str) -> Mapping[str, Any] | None:
    try:
        attributes: Mapping[str, Any] = client.images.get(name).attrs
    except ImageNotFound:
        return None
    return attributes


def _send(name: str, local: str, url: str, say: Say) -> None:
    with closing(docker_host.connect(url=local)) as source, closing(docker_host.connect(url=url)) as target:
        source.api.timeout = target.api.timeout = _TIMEOUT_S
        say(f"sending {name} to {url} …")
        chunks = source.api.get_image(name, chunk_size=_CHUNK)
        stream = _reported(chunks, f"sending {name} to {url}", say)  # sent as it comes
        target.images.load(cast("bytes", stream))


def _reported(chunks: Iterator[bytes], what: str, say: Say) -> Iterator[bytes]:
    sent, last = 0, time.monotonic()
    for chunk in chunks:
        yield chunk
        sent += len(chunk)
        if time.monotonic() - last >= _HEARTBEAT_S:
            last = time.monotonic()
            say(f"{what}: {sent / 1e6:.0f} MB so far")
