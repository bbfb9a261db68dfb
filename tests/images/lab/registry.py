"""A registry on loopback, of the tests' own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from labs.apt import packages


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Start Debian's docker-registry with its data in ``folder``; yields HOST:PORT."""
    if shutil.which("docker-registry") is None:
        packages("docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: {address}}}\n"
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _until_ready(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"http://{address}/v2/", trust_env=False, timeout=5).status_code < 500:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
