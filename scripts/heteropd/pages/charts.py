"""Plots as SVG: a Vega-Lite file of ``charts/`` with the data it names."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup

_FOLDER = Path(__file__).parent / "charts"
_WIDTH, _BETWEEN, _ACROSS = 985, 55, 3  # of a page, between panels in it, and most panels across
Rows = Sequence[Mapping[str, Any]]


def chart(name: str, data: Mapping[str, Rows], panels: int = 0, **values: object) -> Markup:
    """The plot ``charts/NAME.json`` of ``data``, by the names that it gives them.

    ``values`` stand where it has their names as ``"$NAME"``. ``panels``: how many plots stand side by side in
    it, where that depends on the data.
    """
    spec = _read(name, values) | {"config": _read("theme", {})}
    spec["datasets"] = {key: list(rows) for key, rows in data.items()}
    if panels:
        spec["columns"] = min(panels, _ACROSS)
        spec["spec"]["width"] = _WIDTH // spec["columns"] - _BETWEEN
    return Markup(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))  # noqa: S704


def _read(name: str, values: Mapping[str, object]) -> dict[str, Any]:
    text = (_FOLDER / f"{name}.json").read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f'"${key}"', json.dumps(value))
    content: dict[str, Any] = json.loads(text)
    return content
