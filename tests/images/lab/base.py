"""A base image without a registry: Debian 12 with its Python, made by mmdebstrap, always the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from labs import debian

TAG = "heteropd-base:standin"
_INCLUDE = ("python3", "python3-venv", "ca-certificates", "binutils")
_CREATED = "2025-12-01T00:00:00Z"


def archive(folder: Path) -> Path:
    """A docker archive of the base in ``folder``; made once. Needs root."""
    made = folder / "base.tar"
    if made.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "root.tar"
    debian.bootstrap(root, _INCLUDE)
    _wrap(root, made)
    root.unlink()
    return made


def _wrap(root: Path, made: Path) -> None:
    """A root file system as a docker archive whose id follows from its content alone."""
    with root.open("rb") as stream:
        layer = hashlib.file_digest(stream, "sha256").hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": _CREATED,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["bash"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created": _CREATED, "created_by": "mmdebstrap"}],
    }
    text = json.dumps(config, sort_keys=True).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [TAG], "Layers": [f"{layer}/layer.tar"]}]
    unfinished = made.with_suffix(".part")
    with tarfile.open(unfinished, "w") as out:
        for member, content in ((name, text), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
        info = out.gettarinfo(str(root), f"{layer}/layer.tar")
        info.mtime = 0
        with root.open("rb") as stream:
            out.addfile(info, stream)
    unfinished.rename(made)
