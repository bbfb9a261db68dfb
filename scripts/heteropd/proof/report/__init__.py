"""Writes a verdict down: JSON for machines, Markdown for people, the same data in both."""

from __future__ import annotations

from pathlib import Path

from heteropd.plan.model import Plan
from heteropd.proof.report.markdown import render
from heteropd.proof.report.terminal import Paths, show
from heteropd.proof.verdict import Verdict

__all__ = ["Paths", "render", "show", "write"]


def write(verdict: Verdict, plan: Plan, folder: Path) -> Paths:
    """Write ``verdict.json`` and ``verdict.md`` into ``folder``, replacing a former report."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = Paths(folder / "verdict.json", folder / "verdict.md")
    _replace(paths.json, verdict.model_dump_json(indent=2) + "\n")
    _replace(paths.markdown, render(verdict, plan))
    return paths


def _replace(path: Path, text: str) -> None:
    """Whole or not at all: a reader never finds half a report."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
