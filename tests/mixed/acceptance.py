"""What a GPU is asked: planted corruptions of a mixed pair, all to be refused, and what a hand-over costs.

Not in CI; on a machine with an NVIDIA GPU:

    .nox/kit/bin/python -P tests/mixed/acceptance.py case1 OUT [figures] [NAME=VALUE …]

``figures`` plants nothing. Writes OUT/CASE.json; exit status 1 where a corruption went unnoticed, or a clean
run did not pass.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from heteropd import proof, topology
from heteropd.app import wiring
from heteropd.app.planning import planned
from heteropd.config.arguments import PlanArguments
from heteropd.engine_api.metrics import Counts, samples, total
from heteropd.plan.model import Plan, RolePlan

ROOT = Path(__file__).parents[2]
FAULTS = (
    "none",
    "wrong-layout",
    "swapped-blocks",
    "missing-last-block",
    "one-layer-only",
    "kv-swapped",
    "recomputed",
    "never-moved",
    "stale-blocks",
    "one-in-ten",
    "none",
)
LENGTHS = (128, 512, 1024, 1920)


def with_faults(role: RolePlan, control: Path) -> RolePlan:
    """A decode with the connector of tests/e2e/faults.py."""
    if role.role != "decode":
        return role
    at = role.argv.index("--kv-transfer-config") + 1
    config = json.loads(role.argv[at])
    config |= {"kv_connector": "FaultyConnector", "kv_connector_module_path": "faults"}
    env = {"PYTHONPATH": f"{ROOT / 'tests/e2e'}:{ROOT / 'scripts'}", "HETEROPD_FAULT_FILE": str(control)}
    argv = [*role.argv[:at], json.dumps(config), *role.argv[at + 1 :]]
    return role.model_copy(update={"argv": argv, "env": role.env | env})


def hand_overs(plan: Plan) -> list[dict[str, Any]]:
    """Prompts of several lengths through the router: what each transfer moved and took, and TTFT."""
    rows = []
    decode = plan.of("decode")[0]
    with httpx.Client(timeout=120) as client:
        for length in LENGTHS:
            for _ in range(6):
                before, page = _counts(client, decode)
                salt = time.monotonic_ns() // 7
                tokens = [1000 + (salt + nth * 37) % 30000 for nth in range(length)]
                body = {"model": plan.model, "prompt": tokens, "max_tokens": 2, "stream": True}
                began, ttft = time.perf_counter(), 0.0
                with client.stream("POST", f"{plan.router.url}/v1/completions", json=body) as response:
                    for line in response.iter_lines():
                        if line.startswith("data:") and not ttft:
                            ttft = time.perf_counter() - began
                    response.raise_for_status()
                time.sleep(0.3)
                after, page_after = _counts(client, decode)
                moved = after.since(before)
                names = ("xfer_time", "post_time")
                took = {name: _sum(page_after, name) - _sum(page, name) for name in names}
                counted = {name: moved[name] for name in ("transfers", "bytes", "descriptors")}
                rows.append({"tokens": length, "ttft": ttft, **counted, **took})
    return rows


def _counts(client: httpx.Client, decode: RolePlan) -> tuple[Counts, Any]:
    page = samples(client.get(f"{decode.url}/metrics").text)
    return Counts.of(page), page


def _sum(page: Any, name: str) -> float:
    return total(page, f"vllm:nixl_{name}_seconds", {}) or 0.0


def main() -> int:
    case, out, *words = sys.argv[1:]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    faults = () if "figures" in words else FAULTS
    given = {"standin": "gaudi"} | dict(word.split("=", 1) for word in words if "=" in word)
    plan = planned(PlanArguments(case, given))
    python = wiring.real_engine(ROOT, plan)
    context = replace(wiring.context(ROOT, wiring.prepare(ROOT)), accelerator_python=python)
    control = folder / f"{case}.fault"
    control.write_text("none")
    plan = plan.model_copy(update={"roles": [with_faults(role, control) for role in plan.roles]})
    results: list[dict[str, Any]] = []
    try:
        up = topology.up(plan, context)
        figures = hand_overs(plan)
        logs = {role.name: context.log(role.name) for role in plan.engines}
        options = proof.ProofOptions(logs=lambda name: logs[name].read_text(errors="replace"))
        for fault in faults:
            control.write_text(fault)
            verdict = proof.run(plan, proof.load(ROOT), context.clock, context.console, options)
            good = verdict.passed == (fault == "none")
            floor = verdict.floor.model_dump() if verdict.floor else None
            distances = [probe.distance for probe in verdict.probes if probe.distance is not None]
            results.append(
                {
                    "fault": fault,
                    "result": verdict.result,
                    "as it must be": good,
                    "failed": [check.id for check in verdict.failures()],
                    "seconds": verdict.seconds,
                    "floor": floor,
                    "distances": distances,
                }
            )
            print(f"{'ok ' if good else 'BAD'} {case} {fault}: {verdict.headline()}", flush=True)
        ready = up.ready_after_s
    finally:
        topology.down(context)
    record = {"case": case, "ready": ready, "faults": results, "hand_overs": figures}
    name = "-".join([case, *sorted(v for k, v in given.items() if k.endswith("block_size"))])
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    return 0 if all(result["as it must be"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
