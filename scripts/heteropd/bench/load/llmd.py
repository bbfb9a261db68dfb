"""The result as llm-d Benchmark Reports of version 0.2, one for each arm and load, for llm-d's own tools.

The format is described, with its schema, in github.com/llm-d/llm-d-benchmark, docs/benchmark_report.md.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from heteropd.bench.load.model import Arm, Latencies, Level, LoadResult
from heteropd.config.bench import LoadProfile

_VERSION = "0.2"


def write_llmd(result: LoadResult, folder: Path) -> list[Path]:
    """Write a report for each arm and load as ``ARM-STAGE.json``; none of a result that is not valid."""
    if not result.validity.valid:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        folder / f"{arm.name}-{stage}.json": llmd_report(result, arm, stage)
        for arm in result.arms
        for stage in range(len(arm.levels))
    }
    for file, report in files.items():
        file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return list(files)


def llmd_report(result: LoadResult, arm: Arm, stage: int) -> dict[str, Any]:
    """The report of one load of an arm."""
    level = arm.levels[stage]
    ended = level.started + timedelta(seconds=level.seconds)
    run = f"{result.fingerprint}/{result.started.isoformat()}"
    return {
        "version": _VERSION,
        "run": {
            "uid": str(uuid5(NAMESPACE_URL, f"{run}/{arm.name}/{stage}")),
            "eid": str(uuid5(NAMESPACE_URL, run)),
            "time": {
                "start": level.started.isoformat(),
                "end": ended.isoformat(),
                "duration": f"PT{level.seconds:.3f}S",
            },
            "description": " ".join([f"heteropd {result.case}, {arm.description}.", *result.caveats]),
            "keywords": ["heteropd", result.case, arm.name, *(["stand-in"] if result.standin else [])],
        },
        "scenario": {"stack": _stack(result, arm), "load": _load(result, stage)},
        "results": {
            "request_performance": {"aggregate": _performance(level)},
            "observability": {"kv_transfer": level.kv.model_dump(mode="json")},
        },
    }


def _stack(result: LoadResult, arm: Arm) -> list[dict[str, Any]]:
    return [
        {
            "metadata": {"label": name, "cfg_id": result.fingerprint},
            "standardized": {
                "kind": "inference_engine",
                "tool": "vllm",
                "tool_version": str(facts.get("version") or "unknown"),
                "role": facts["role"] if arm.name == "pd" else "replica",
                "replicas": 1,
                "model": {"name": result.model},
                "accelerator": _accelerator(facts),
            },
            "native": {"config": facts},
        }
        for name, facts in result.engines.items()
    ]


def _accelerator(facts: dict[str, Any]) -> dict[str, Any]:
    platform, standin = facts["platform"], facts.get("standin")
    model = f"CPU in place of {platform}" if standin else platform
    return {"model": model, "count": 0 if standin else 1, "parallelism": {}}


def _load(result: LoadResult, stage: int) -> dict[str, Any]:
    profile, value = result.profile, result.profile.levels[stage]
    rate = {"rate_qps": value} if profile.mode == "poisson" else {"concurrency": int(value)}
    return {
        "metadata": {"cfg_id": result.profile_name, "description": profile.title},
        "standardized": {
            "tool": result.generator["name"],
            "tool_version": result.generator["version"],
            "source": "random",
            "stage": stage,
            "input_seq_len": _lengths(profile, [shape.prompt_tokens for shape in profile.shapes]),
            "output_seq_len": _lengths(profile, [shape.output_tokens for shape in profile.shapes]),
            **rate,
        },
        "native": {"config": profile.model_dump(mode="json")},
    }


def _lengths(profile: LoadProfile, tokens: Sequence[int]) -> dict[str, Any]:
    alike = len(set(tokens)) == 1 and not any(shape.spread for shape in profile.shapes)
    return {"distribution": "fixed" if alike else "other", "value": sum(tokens) / len(tokens)}


def _performance(level: Level) -> dict[str, Any]:
    inputs = [request.prompt_tokens for request in level.good]
    outputs = [request.output_tokens for request in level.good]
    return {
        "requests": {
            "total": len(level.requests),
            "failures": len(level.requests) - len(level.good),
            "input_length": _statistics(Latencies.of(inputs), "count"),
            "output_length": _statistics(Latencies.of(outputs), "count"),
        },
        "latency": {
            "time_to_first_token": _statistics(level.ttft, "s"),
            "inter_token_latency": _statistics(level.itl, "s/token"),
            "request_latency": _statistics(level.e2e, "s"),
        },
        "throughput": {
            "input_token_rate": _rate(sum(inputs) / level.seconds if level.seconds else 0.0, "tokens/s"),
            "output_token_rate": _rate(level.output_tokens_per_s, "tokens/s"),
            "total_token_rate": _rate(level.total_tokens_per_s, "tokens/s"),
            "request_rate": _rate(level.requests_per_s, "queries/s"),
        },
    }


def _rate(mean: float, units: str) -> dict[str, Any]:
    return {"units": units, "mean": mean}


def _statistics(values: Latencies | None, units: str) -> dict[str, Any] | None:
    """None where nothing was measured."""
    if values is None:
        return None
    told = values.model_dump(include={"mean", "p50", "p90", "p95", "p99"})
    return {"units": units, **told, "max": values.maximum}
