"""Plans from both sides of a rule: requests on the example hosts or on stand-ins, and what judges them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from heteropd.config.env import Env, load
from heteropd.config.machine import Machine
from heteropd.errors import BadInput
from heteropd.plan import render
from heteropd.plan.model import Plan
from plan_words import resolve

ROOT = Path(__file__).parents[4]
ENV = load(ROOT)
EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "env/hosts/example.yaml").read_text())
Edit = Callable[[Env], Env]
DOC, REL, NEWEST = "doc-2025-12", "v0.26", "v0.30"
THROUGH_HOST = f"pins={NEWEST} variant=base"
ALIKE = "prefill_kv_layout=NHD prefill_block_size=128"


def pins(name: str, **update: Any) -> Edit:
    """The environment with one pin set changed."""

    def edit(env: Env) -> Env:
        changed = {**env.accelerator_pins, name: env.accelerator_pins[name].model_copy(update=update)}
        return env.model_copy(update={"accelerator_pins": changed})

    return edit


@dataclass(frozen=True)
class Given:
    """A request on the example hosts, or on stand-ins: words, changes of the hosts file, of the data."""

    words: str
    hosts: dict[str, Any] | None = field(default_factory=dict)
    edit: Edit | None = None
    config: dict[str, Any] | None = None

    def plan(self, tmp_path: Path) -> Plan:
        words = self.words.split()
        if self.config is not None:
            (tmp_path / "model").mkdir(exist_ok=True)
            (tmp_path / "model" / "config.json").write_text(json.dumps(self.config))
            words.append(f"model={tmp_path}/model")
        if self.hosts is not None:
            file = tmp_path / "hosts.yaml"
            file.write_text(yaml.safe_dump({**EXAMPLE, **self.hosts}))
            words.append(f"hosts={file}")
        env = self.edit(ENV) if self.edit else ENV
        return render(resolve(words, env, ROOT), env, Machine(cores=[0, 1]))


def standin(words: str, edit: Edit | None = None) -> Given:
    return Given(words, None, edit)


def role(name: str, **additions: Any) -> dict[str, Any]:
    return {"roles": {name: additions}}


def cuda(many: int = 1, ranks: int = 1, **host: Any) -> dict[str, Any]:
    """The example with ``many`` engines on the CUDA node, of ``ranks`` as all others are."""
    hosts = {**EXAMPLE["hosts"], "cuda-node": {**EXAMPLE["hosts"]["cuda-node"], **host}}
    roles = {name: {"tensor_parallel_size": ranks} for name in ("prefill", "decode")}
    return {
        "hosts": hosts,
        "platforms": {**EXAMPLE["platforms"], "cuda": ["cuda-node"] * many},
        "roles": roles,
    }


def kv(device: str, *more: str, compat: str = "false", extra: str = '"y": 1') -> list[str]:
    inner = f'"enforce_handshake_compat": {compat}, "agreed_block_size": 16, {extra}'
    fields = ", ".join(
        [
            '"kv_connector": "NixlConnector", "kv_role": "kv_both"',
            f'"kv_buffer_device": "{device}"',
            *more,
            f'"kv_connector_extra_config": {{{inner}}}',
        ]
    )
    return ["--kv-transfer-config", "{" + fields + "}"]


def args(name: str, *words: str) -> dict[str, Any]:
    """The example with arguments for one role."""
    return role(name, args=" ".join(words).split())


def alike(*words: str, decode: str | None = None) -> dict[str, Any]:
    """The example with the same arguments for both roles, or others for the decode."""
    given = " ".join(words)
    return {"roles": {"prefill": {"args": given.split()}, "decode": {"args": (decode or given).split()}}}


Sides = dict[str, list[tuple[Given, Given]]]


def each_side(rules: ModuleType, sides: Sides) -> pytest.MarkDecorator:
    """A test for every pair of plans: one that breaks a rule of the module, and the nearest that keeps it."""
    stated = re.findall(r'^@rule\("([^"]+)"', inspect.getsource(rules), re.M)
    assert sorted(sides) == sorted(stated), f"every rule of {rules.__name__} has its sides here"
    cases = [
        pytest.param(rule, broken, kept, id=f"{rule}-{number}")
        for rule, pairs in sides.items()
        for number, (broken, kept) in enumerate(pairs)
    ]
    return pytest.mark.parametrize(("rule", "broken", "kept"), cases)


def judge(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    """The one is refused or noted, in one line that names the rule; the other is not."""
    if ENV.rules[rule].broken == "refused":
        with pytest.raises(BadInput) as refused:
            broken.plan(tmp_path)
        assert refused.value.problem.startswith(f"{rule}: ")
        assert refused.value.exit_code == 2
        assert len(str(refused.value).splitlines()) == 1
        assert refused.value.fix
        kept.plan(tmp_path)
        return
    noted = [note for note in broken.plan(tmp_path).notes if note.rule == rule]
    assert len(noted) == 1
    assert len(noted[0].text.splitlines()) == 1
    assert rule not in [note.rule for note in kept.plan(tmp_path).notes]
