"""Validation of the imagined topology: its plan, a clock that stands still, and its verdict."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from imagined import Topology
from rich.console import Console

from heteropd import proof
from heteropd.plan.model import HostPlan, KVGeometry, Plan, Ports, RolePlan

CONFIG = {"num_hidden_layers": 2, "num_key_value_heads": 2, "num_attention_heads": 4, "head_dim": 8}


class FakeClock:
    """Stands still unless slept on."""

    def __init__(self):
        self.time = 100.0

    def now(self):
        return self.time

    def wall(self):
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def sleep(self, seconds):
        self.time += seconds


def plan(model_source="/nowhere", dtype="float32", prefills=1, decodes=1):
    prefill = KVGeometry(layout="HND", block_size=16, wire_layout="HND", wire_block_size=16)
    decode = KVGeometry(
        layout="NHD", block_size=128, wire_layout="NHD", wire_block_size=128, permute_on_receive=True
    )
    here = HostPlan(name="local", address="127.0.0.1")

    def role(name, kind, platform, port, kv=None):
        return RolePlan(
            name=name,
            role=kind,
            platform=platform,
            runs_on="router" if kind == "router" else "cpu",
            host=here,
            env={},
            argv=[],
            ports=Ports(api=port),
            kv=kv,
            dtype=dtype if kv else None,
        )

    return Plan(
        case="case1",
        pins="v0.26",
        variant="base",
        runtime="process",
        model="m",
        model_source=str(model_source),
        parameters={"port": 18000},
        agreed_block_size=None,
        roles=[
            *(role(f"prefill-{at}", "prefill", "cuda", 18100 + at, prefill) for at in range(prefills)),
            *(role(f"decode-{at}", "decode", "gaudi", 18200 + at, decode) for at in range(decodes)),
            role("router", "router", "router", 18000),
        ],
    )


@pytest.fixture(scope="session")
def settings():
    """What the kit ships, so that a thoughtless change of a threshold shows here."""
    return proof.load(Path(__file__).parents[3])


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def make_plan(tmp_path):
    """A plan for the imagined topology; its model's configuration is on disk unless ``config`` is False."""
    if not (tmp_path / "config.json").exists():
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return lambda config=True, **more: plan(tmp_path if config else "/nowhere", **more)


@pytest.fixture
def prove(settings, make_plan):
    """Run validation against a topology with a fault; gives the verdict. Unless ``full``, answers are short
    and the longest prompts are left out: the model of the imagination is slow."""

    def run(
        fault=None, *, noise=0.0, steps=0.0, counters=True, config=True, logs=True, thorough=False,
        changes=None, clock=None, full=False, **more
    ):  # fmt: skip
        many = {side: more[side] for side in ("prefills", "decodes") if side in more}
        item = 2 if more.get("dtype") == "bfloat16" else 4
        made = Topology(fault, noise, counters, item, steps=steps, **many)
        options = proof.ProofOptions(
            thorough=thorough,
            logs=made.log if logs else lambda _: None,
            files=made.files,
            transport=made.transport,
        )
        chosen = settings
        if not full:
            request = settings.request.model_copy(update={"max_tokens": 8})
            probes = settings.probes.model_copy(update={"longest_s": -1.0})
            chosen = chosen.model_copy(update={"request": request, "probes": probes})
        chosen = chosen.model_copy(update=changes or {})
        console = Console(file=StringIO())
        return proof.run(make_plan(config, **more), chosen, clock or FakeClock(), console, options)

    return run
