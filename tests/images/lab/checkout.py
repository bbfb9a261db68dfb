"""A checkout of the tests' own: its images have names of their own, and its env/ may be changed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.kit import ROOT, heteropd

_COPIED = ("docker", "env", "scripts", "pyproject.toml", "README.md", "LICENSE", ".dockerignore")


@dataclass(frozen=True)
class Checkout:
    """``prefix`` stands before the names of its images, such as PREFIX/router:standin-base."""

    root: Path
    prefix: str

    def heteropd(self, *words: str, code: int = 0, timeout_s: float = 1800) -> str:
        """Run a verb of it; returns what it said. Fails unless it exits with ``code``."""
        return heteropd(*words, root=self.root, code=code, timeout_s=timeout_s)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that must be in the file."""
        text = (self.root / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        (self.root / name).write_text(text.replace(old, new))


def checkout(root: Path, prefix: str) -> Checkout:
    """Copy what the kit runs from into ``root``."""
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            root.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / name)
    made = Checkout(root, prefix)
    made.edit("env/defaults.yaml", 'image: "heteropd/', f'image: "{prefix}/')
    return made
