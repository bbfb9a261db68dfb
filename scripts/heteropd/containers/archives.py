"""Files for containers, as the tar archives in which Docker takes them."""

import io
import tarfile
import tempfile
from pathlib import Path
from typing import IO


def folder(path: Path) -> IO[bytes]:
    """The folder's files, readable by anybody, config.json last; an open temporary file to be closed."""
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


def secret(path: str, text: str) -> bytes:
    """For unpacking at / of a container: a file at ``path`` that its processes can read."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        data = text.encode()
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(data), 0o444
        tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()
