"""A small Debian 12, put together by mmdebstrap from this machine's own mirror."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labs.apt import mirror, packages

SUITE = "bookworm"
_EPOCH = "1764547200"
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def bootstrap(target: Path, include: Sequence[str], options: Sequence[str] = ()) -> None:
    """Make ``target``, a folder or a .tar, with what ``include`` names. Needs root."""
    packages("mmdebstrap", "debian-archive-keyring")
    words = ["mmdebstrap", "--variant=minbase", f"--include={','.join(include)}", "--dpkgopt=force-unsafe-io"]
    words += [f"--dpkgopt=path-exclude={path}" for path in _EXCLUDED]
    from_here = [one] if (one := mirror()) else []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as fast:
        done = subprocess.run(
            [*words, *options, SUITE, str(target), *from_here],
            env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH, "TMPDIR": fast},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
