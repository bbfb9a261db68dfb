"""A bundle on disk: what is in it, by SHA-256, and refusing one that is not what was collected."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from heteropd.config import problems
from heteropd.config.types import Data
from heteropd.errors import BadInput

MANIFEST = "bundle.json"
WHEELS = "wheels"


class BundledImage(Data):
    """One image that the bundle is for. ``build`` and ``ship`` are names of ``Bundle.bases``."""

    pins: str
    variant: str
    build: str
    ship: str
    locks: dict[str, str] = Field(description="SHA-256 of the locks that the packages are of, by file")
    sources: dict[str, str] = Field(description="Commit by source; its files are in sources/IMAGE/SOURCE")
    parts: dict[str, str] = Field(
        default_factory=dict, description="What was given by hand: image://REF@sha256:…"
    )
    contexts: dict[str, str] = Field(
        default_factory=dict, description="Build contexts that are images: names of ``Bundle.bases``"
    )


class BundledBase(Data):
    """A base image: its archive, and the tag that loading the archive gives."""

    archive: str
    tag: str


class Bundle(Data):
    """bundle.json. ``base``: the image that was given by hand instead of the pinned ones."""

    format: Literal[1] = 1
    base: str | None = None
    images: dict[str, BundledImage]
    bases: dict[str, BundledBase]
    files: dict[str, str] = Field(description="SHA-256 of every other file of the bundle, by path in it")


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file of the bundle but the manifest, with its path in it."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            yield name, path


def write(bundle: Bundle, folder: Path) -> None:
    """Write the manifest: last, so that a bundle that was not finished has none."""
    text = json.dumps(bundle.model_dump(mode="json"), indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Bundle:
    """The manifest. Raises BadInput for a folder that is no finished bundle."""
    file = folder / MANIFEST
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as bad:
        reason = bad.strerror if isinstance(bad, OSError) else "it is not JSON"
        fix = "collect one with make bundle images=IMAGE to=FOLDER"
        raise BadInput("command line", "bundle", str(folder), f"has no {MANIFEST} ({reason})", fix) from None
    return problems.validate(Bundle, data, str(file))


def verify(bundle: Bundle, folder: Path) -> None:
    """Raise BadInput for the first file that is missing, changed, or not in the manifest."""
    found = dict(files(folder))
    for name in sorted({*found, *bundle.files}):
        if name not in found:
            problem = "is missing"
        elif name not in bundle.files:
            problem = "was not collected"
        elif sha256(found[name]) != bundle.files[name]:
            problem = "is not what was collected (SHA-256)"
        else:
            continue
        fix = "do not use it: find out who changed it, or collect the bundle anew"
        raise BadInput(f"{folder}/{name}", None, None, problem, fix)
