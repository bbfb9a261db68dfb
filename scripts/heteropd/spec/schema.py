"""JSON Schema of every kind of file, for editors (``# yaml-language-server: $schema=…``)."""

from __future__ import annotations

import json
from pathlib import Path

from heteropd.spec.cases import Case
from heteropd.spec.checks import Checks
from heteropd.spec.defaults import Defaults, StandIns
from heteropd.spec.drills import Drills
from heteropd.spec.hosts import Hosts
from heteropd.spec.images import Images
from heteropd.spec.infra import InfraFacts
from heteropd.spec.lock import Lock
from heteropd.spec.mirrors import Mirrors
from heteropd.spec.parameters import Parameters
from heteropd.spec.pins import PinSet, StandinPins
from heteropd.spec.platforms import Platform
from heteropd.spec.types import Data

KINDS: dict[str, type[Data]] = {
    "case": Case,
    "checks": Checks,
    "defaults": Defaults,
    "drills": Drills,
    "hosts": Hosts,
    "images": Images,
    "infra": InfraFacts,
    "lock": Lock,
    "mirrors": Mirrors,
    "parameters": Parameters,
    "pins": PinSet,
    "platform": Platform,
    "standin-pins": StandinPins,
    "standins": StandIns,
}


def render() -> dict[str, str]:
    """The text of each schema file, by file name."""
    texts = {}
    for name, model in KINDS.items():
        schema = model.model_json_schema()
        if model is Parameters:
            schema.pop("required", None)  # a parameter file says only what it changes
        texts[f"{name}.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return texts


def export(folder: Path) -> list[Path]:
    """Write the schema files into ``folder``; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in render().items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written
