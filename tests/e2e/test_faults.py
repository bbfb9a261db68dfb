"""Every planted corruption fails validation, though requests answer 200; clean runs pass before and after."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from e2e_kit import ROOT, Kit, kit, port_words

from heteropd import topology
from heteropd.config.machine import probe
from heteropd.plan.model import Plan, RolePlan
from plan_words import make

# The group of checks that must notice; others may as well.
EXPECTED = {
    "wrong-layout": "integrity",
    "swapped-blocks": "integrity",
    "shifted-blocks": "integrity",
    "missing-last-block": "integrity",
    "stale-blocks": "integrity",
    "kv-swapped": "integrity",
    "one-layer-only": "integrity",
    "never-moved": "kv_transfer",
    "recomputed": "kv_transfer",
    "unsalted-only": "integrity",
    "may-stop-only": "integrity",
    "long-only": "integrity",
    "one-in-ten": "integrity",
}
# The faults strike where KV is received. In case 2 that is a stock decode: the ones that depend on its
# geometry are tried again there.
TRIED = {
    "case1": sorted(EXPECTED),
    "case1 bfloat16": sorted(EXPECTED),
    "case2": ["missing-last-block", "one-layer-only", "swapped-blocks", "wrong-layout"],
    "case2 bfloat16": ["missing-last-block", "one-layer-only", "swapped-blocks", "wrong-layout"],
}


def planted() -> set[str]:
    """The faults that the connector knows, read from its source: it needs vLLM to be imported."""
    tree = ast.parse((ROOT / "tests/e2e/faults.py").read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and text in EXPECTED}


def with_faults(role: RolePlan, control: Path, dtype: str) -> RolePlan:
    """The role in a data type, as a hosts file adds it, and a decode with a connector that corrupts what it
    receives as the control file says."""
    if role.role != "router" and dtype:
        role = role.model_copy(update={"argv": [*role.argv, "--dtype", dtype]})
    if role.role != "decode":
        return role
    at = role.argv.index("--kv-transfer-config") + 1
    config = json.loads(role.argv[at])
    name = "FaultyDigestConnector" if config["kv_connector"].startswith("Digest") else "FaultyConnector"
    config |= {"kv_connector": name, "kv_connector_module_path": "faults"}
    argv = [*role.argv[:at], json.dumps(config), *role.argv[at + 1 :]]
    env = {**role.env, "PYTHONPATH": str(ROOT / "tests/e2e"), "HETEROPD_FAULT_FILE": str(control)}
    return role.model_copy(update={"argv": argv, "env": env})


@dataclass
class Faulty:
    """A running topology and the file that switches its faults."""

    kit: Kit
    plan: Plan
    control: Path
    tried: list[str]


@pytest.fixture(scope="module", params=TRIED)
def faulty(request: pytest.FixtureRequest) -> Iterator[Faulty]:
    case, _, dtype = request.param.partition(" ")
    if case != "case1" and not request.config.getoption("--all-faults"):
        pytest.skip("--all-faults tries them in case 2, which receives in the same code")
    with kit() as one:
        control = one.state / "fault"
        control.write_text("none")
        plan = make([case, *port_words()], ROOT, probe())
        plan = plan.model_copy(update={"roles": [with_faults(role, control, dtype) for role in plan.roles]})
        topology.up(plan, one.context(plan))
        yield Faulty(one, plan, control, TRIED[request.param])


def test_clean_runs_pass(faulty: Faulty, clean_runs: int) -> None:
    faulty.control.write_text("none")
    for _ in range(clean_runs):
        verdict = faulty.kit.validate(faulty.plan)
        assert verdict.passed, verdict.headline()


def test_every_fault_of_the_connector_is_tried() -> None:
    assert planted() == set(EXPECTED) == set(TRIED["case1"])


@pytest.mark.parametrize("fault", sorted(EXPECTED))
def test_a_planted_fault_fails_validation(faulty: Faulty, fault: str) -> None:
    if fault not in faulty.tried:
        pytest.skip(f"tried in case 1; {faulty.plan.case} receives in the same code")
    faulty.control.write_text(fault)
    verdict = faulty.kit.validate(faulty.plan, brief=True)
    assert not verdict.passed, f"{fault} went unnoticed"
    groups = {check.group for check in verdict.failures()}
    assert EXPECTED[fault] in groups, verdict.headline()
    assert "identity" not in groups, "the engines themselves are right"


def test_after_the_faults_a_clean_run_passes_again(faulty: Faulty) -> None:
    faulty.control.write_text("none")
    verdict = faulty.kit.validate(faulty.plan, brief=True)
    assert verdict.passed, verdict.headline()


def test_a_router_that_sends_whole_requests_to_one_engine_fails(faulty: Faulty) -> None:
    """It answers, and answers right; only the KV did not move."""
    decode = faulty.plan.of("decode")[0]
    router = faulty.plan.router.model_copy(update={"ports": decode.ports})
    bypassed = faulty.plan.model_copy(update={"roles": [*faulty.plan.engines, router]})
    assert httpx.get(f"{router.url}/health", timeout=30).status_code == 200
    verdict = faulty.kit.validate(bypassed, brief=True)
    assert not verdict.passed
    assert {check.group for check in verdict.failures()} == {"kv_transfer"}, verdict.headline()
