"""Plots as SVG: a Vega-Lite file of ``charts/`` with the data it names."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

_FOLDER = Path(__file__).parent / "charts"
_DRAW = Path(__file__).parent / "draw.py"
_WIDTH, _BETWEEN, _ACROSS = 985, 55, 3  # of a page, between panels in it, and most panels across
_NOT_DRAWN = Markup("<p>This plot could not be drawn on this machine; its figures are in the JSON.</p>")
Rows = Sequence[Mapping[str, Any]]
Chart = dict[str, Any]


def chart(name: str, data: Mapping[str, Rows], panels: int = 0, **values: object) -> Chart:
    """The plot ``charts/NAME.json`` of ``data``, by the names that it gives them.

    ``values`` stand where it has their names as ``"$NAME"``. ``panels``: how many plots stand side by side in
    it, where that depends on the data.
    """
    spec = _read(name, values) | {"config": _read("theme", {})}
    spec["datasets"] = {key: list(rows) for key, rows in data.items()}
    if panels:
        spec["columns"] = min(panels, _ACROSS)
        spec["spec"]["width"] = _WIDTH // spec["columns"] - _BETWEEN
    return spec


def draw(charts: Mapping[str, Chart]) -> dict[str, Markup]:
    """Charts as SVG; those whose first data are none are left out.

    In a process of its own: V8 ends the process that it cannot have its memory in (under `ulimit -v`), and a
    verdict must not end with it. Then each plot is a sentence that says so.
    """
    wanted = {name: spec for name, spec in charts.items() if next(iter(spec["datasets"].values()))}
    argv, specs = [sys.executable, "-P", str(_DRAW)], json.dumps(list(wanted.values()))
    done = subprocess.run(argv, input=specs, capture_output=True, text=True, check=False)
    if done.returncode:
        return dict.fromkeys(wanted, _NOT_DRAWN)
    return {name: Markup(svg) for name, svg in zip(wanted, json.loads(done.stdout), strict=True)}  # noqa: S704


def _read(name: str, values: Mapping[str, object]) -> Chart:
    text = (_FOLDER / f"{name}.json").read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f'"${key}"', json.dumps(value))
    content: Chart = json.loads(text)
    return content
