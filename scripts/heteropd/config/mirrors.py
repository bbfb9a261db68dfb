"""env/mirrors.yaml: where a site without the internet finds git repositories and images.

A mirror changes where an input comes from, never what it is: commits and digests stay those of the pin set.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from heteropd.config import yamlfile
from heteropd.config.types import Data
from heteropd.errors import BadInput

FILE = "env/mirrors.yaml"
VARIABLE = "HETEROPD_MIRRORS"


class Mirrors(Data):
    """What stands at the front of an address, and what to put there instead. The longest is taken."""

    repositories: dict[str, str] = Field(
        default_factory=dict, alias="git", description="'https://github.com/': 'ssh://git@here/'"
    )
    registries: dict[str, str] = Field(
        default_factory=dict,
        alias="images",
        description="'docker.io/': 'registry.example/hub/'; Docker Hub's own name is written out",
    )

    def git(self, url: str) -> str:
        """The address to ask instead of ``url``."""
        return _replaced(url, self.repositories)

    def image(self, ref: str) -> str:
        """The image to pull instead of ``ref``; ``nvidia/cuda:…`` is known as ``docker.io/nvidia/cuda:…``."""
        full = _full(ref)
        mirrored = _replaced(full, self.registries)
        return ref if mirrored == full else mirrored


def load(root: Path, environ: Mapping[str, str] = os.environ) -> Mirrors:
    """The site's mirrors: of the file that HETEROPD_MIRRORS names, or of env/mirrors.yaml; else none.

    Raises BadInput for a file that is wrong, and for a named one that is missing.
    """
    named = environ.get(VARIABLE)
    file = Path(named) if named else root / FILE
    if not named and not file.exists():
        return Mirrors()
    if named and not file.is_file():
        raise BadInput(
            "environment", VARIABLE, named, "no such file", f"name a file like {FILE}, or unset it"
        )
    return yamlfile.load(Mirrors, file, root)


def _replaced(address: str, table: Mapping[str, str]) -> str:
    for prefix in sorted(table, key=len, reverse=True):
        if address.startswith(prefix):
            return table[prefix] + address.removeprefix(prefix)
    return address


def _full(ref: str) -> str:
    """The reference with its registry. The first part names one where it has a dot or a port in it."""
    first, slash, _ = ref.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return ref
    return f"docker.io/{ref}" if slash else f"docker.io/library/{ref}"
