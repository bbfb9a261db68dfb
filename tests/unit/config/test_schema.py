"""The schemas that editors use are those of the code, and the data keeps them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from heteropd.config import schema, yamlfile
from heteropd.errors import BadInput

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "env").rglob("*.yaml"))
HEADER = re.compile(r"# yaml-language-server: \$schema=(\S+)")


def test_committed_schemas_are_current() -> None:
    committed = {file.name: file.read_text() for file in (ROOT / "env" / "schema").glob("*.json")}
    rendered = schema.render()
    stale = [name for name, text in rendered.items() if committed.get(name) != text]
    assert not stale, "`make schema` writes them anew"


def test_export_writes_what_render_says(tmp_path: Path) -> None:
    written = schema.export(tmp_path / "new")
    assert {file.name: file.read_text() for file in written} == schema.render()


def schema_of(file: Path) -> Path:
    header = HEADER.match(file.read_text())
    assert header, "the first line names the schema"
    return (file.parent / header[1]).resolve()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "env")))
def test_data_names_its_schema_and_keeps_it(file: Path) -> None:
    target = schema_of(file)
    assert target.parent == ROOT / "env" / "schema"
    jsonschema.Draft202012Validator(json.loads(target.read_text())).validate(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "env")))
def test_the_one_loader_takes_every_file_and_no_key_twice(file: Path, tmp_path: Path) -> None:
    model = schema.KINDS[schema_of(file).stem]
    yamlfile.load(model, file, ROOT)
    twice = tmp_path / file.name
    first = next(line for line in file.read_text().splitlines() if re.match(r"[a-z_]+:", line))
    twice.write_text(f"{file.read_text()}\n{first.partition(':')[0]}: 1\n")
    with pytest.raises(BadInput, match="is given twice"):
        yamlfile.load(model, twice, tmp_path)


def test_a_schema_refuses_what_the_kit_refuses() -> None:
    case = yaml.safe_load((ROOT / "env/cases/case1.yaml").read_text())
    case["prefill"]["block_size"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(case, json.loads(schema.render()["case.json"]))


def test_a_parameter_file_need_not_say_everything() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema.render()["parameters.json"]))
    validator.validate({"port": 8080})
    assert not validator.is_valid({"port": 70000})
    assert not validator.is_valid({"prot": 8080})
