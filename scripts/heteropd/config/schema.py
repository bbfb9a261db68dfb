"""JSON Schema of every kind of file, for editors (``# yaml-language-server: $schema=…``)."""

import json
from pathlib import Path

from heteropd.config.bench import BenchSettings
from heteropd.config.cases import Case
from heteropd.config.checks import Checks, InfraFacts, Rules
from heteropd.config.defaults import Defaults, StandIns
from heteropd.config.drills import Drills
from heteropd.config.hints import Hints
from heteropd.config.hosts import Hosts
from heteropd.config.images import Images
from heteropd.config.lock import Lock
from heteropd.config.mirrors import Mirrors
from heteropd.config.observe import ObserveSettings
from heteropd.config.parameters import Parameters
from heteropd.config.pins import PinSet, StandinPins
from heteropd.config.platforms import Platform
from heteropd.config.types import Data
from heteropd.config.validation import Settings
from heteropd.config.vllm_options import VllmOptions

KINDS: dict[str, type[Data]] = {
    "bench": BenchSettings,
    "case": Case,
    "checks": Checks,
    "defaults": Defaults,
    "drills": Drills,
    "hints": Hints,
    "hosts": Hosts,
    "images": Images,
    "infra": InfraFacts,
    "lock": Lock,
    "mirrors": Mirrors,
    "observe": ObserveSettings,
    "parameters": Parameters,
    "pins": PinSet,
    "platform": Platform,
    "rules": Rules,
    "standin-pins": StandinPins,
    "standins": StandIns,
    "validation": Settings,
    "vllm-options": VllmOptions,
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
