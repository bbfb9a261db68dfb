"""What is read of a running topology: its engines' and its router's counts, and what a token's KV takes."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from doctor_hosts import CHECKS, ENV, ROOT, plan_of
from rich.console import Console

from heteropd.doctor import judge, live
from heteropd.doctor.model import Running
from heteropd.plan.arguments import EngineArguments, engine_words, parse
from heteropd.plan.model import Plan, RolePlan
from heteropd.topology import Context, Topology
from heteropd.topology.state import RoleState, save

LLAMA = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
ROUTER = """\
vllm_router_pd_requests_total{route="/v1/completions"} 1000
vllm_router_pd_requests_total{route="/v1/chat/completions"} 2
"""
# 5,000 bytes for a thousand requests of 500 tokens, in the words of vLLM.
DECODE = """\
vllm:nixl_bytes_transferred_sum{engine="0"} 5000.0
vllm:prompt_tokens_total{engine="0"} 501000.0
vllm:request_success_total{engine="0",finished_reason="length"} 1002.0
"""


@contextmanager
def serving(port: int, pages: dict[str, str]) -> Iterator[int]:
    """A role's API, as far as pages go."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", port), Pages) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def running(folder: Path, decode: str = DECODE, router: str = ROUTER) -> Running:
    """What is read of a topology that says this."""
    models = json.dumps({"data": [{"id": "m", "root": model_in(folder, LLAMA)}]})
    with ExitStack() as stack:
        api = stack.enter_context(serving(0, {"/metrics": decode, "/v1/models": models}))
        metrics = stack.enter_context(serving(0, {"/metrics": router} if router else {}))
        plan = plan_of(f"case1 prefill_port=21201 decode_port={api} port=21203 metrics_port={metrics}")
        return live.read(recorded(plan, folder), context(folder), ENV)


def model_in(folder: Path, config: dict[str, Any]) -> str:
    (folder / "model").mkdir()
    (folder / "model/config.json").write_text(json.dumps(config))
    return str(folder / "model")


def decode_with(*args: str) -> tuple[Plan, RolePlan, EngineArguments]:
    """The stand-ins' decode with more arguments."""
    plan = plan_of("case1")
    [role] = plan.of("decode")
    role = role.model_copy(update={"argv": [*role.argv, *args]})
    return plan, role, parse(engine_words(role.argv), ENV.vllm_options)


def context(folder: Path) -> Context:
    return Context(root=ROOT, console=Console(file=io.StringIO()), state_dir=folder)


def recorded(plan: Plan, folder: Path) -> Topology:
    roles = [RoleState(name=role.name, log=folder / f"{role.name}.log") for role in plan.roles]
    topology = Topology(
        id="one",
        phase="up",
        boot_id="",
        fingerprint=plan.fingerprint(),
        created=datetime.now(UTC),
        plan=plan,
        roles=roles,
    )
    save(topology, folder)
    return topology


def test_counts_of_decode_and_router(tmp_path: Path) -> None:
    found = running(tmp_path)
    assert (found.routed, found.decode["requests"], found.decode["bytes"]) == (1002, 1002, 5000)
    assert found.token_bytes == 2 * 30 * 3 * 64 * 4
    [moved] = [each for each in judge.judge_topology(found, CHECKS) if each.id == "T4-31-kv-moved"]
    assert (moved.status, moved.text) == ("FAIL", "5,000 of about 23,086,080,000 bytes")


def test_a_router_and_an_engine_that_count_nothing_are_unknown(tmp_path: Path) -> None:
    found = running(tmp_path, decode="<html>", router="")
    assert (found.routed, found.decode["requests"], found.prefill["requests"]) == (None, None, None)


@pytest.mark.parametrize(
    ("config", "args", "token_bytes"),
    [
        ({}, (), None),
        (LLAMA, ("--kv-cache-dtype", "fp8"), 2 * 30 * 3 * 64),
        (LLAMA, ("--dtype=bfloat16",), 2 * 30 * 3 * 64 * 2),
        ({"text_config": LLAMA}, (), 2 * 30 * 3 * 64 * 4),
        # Layers that keep a window, or no KV: less moves than all layers' share, and nothing can be expected.
        (LLAMA | {"sliding_window": 4096}, (), None),
        (LLAMA | {"sliding_window": 4096, "use_sliding_window": False}, (), 2 * 30 * 3 * 64 * 4),
        (LLAMA | {"layer_types": ["full_attention", "linear_attention"]}, (), None),
        (LLAMA | {"layer_types": ["full_attention"] * 30}, (), 2 * 30 * 3 * 64 * 4),
    ],
)
def test_bytes_of_a_token(
    config: dict[str, Any], args: tuple[str, ...], token_bytes: int | None, tmp_path: Path
) -> None:
    assert live.token_bytes_of(*decode_with(*args), [model_in(tmp_path, config)]) == token_bytes


@pytest.mark.parametrize(
    ("transfer", "recomputes"),
    [
        ({"kv_load_failure_policy": "recompute"}, True),
        ({"kv_connector_extra_config": {"kv_load_failure_policy": "recompute"}}, True),
        ({"kv_load_failure_policy": "fail"}, False),
        ({}, False),
    ],
)
def test_a_decode_that_recomputes(transfer: dict[str, Any], recomputes: bool) -> None:
    for option in ("--kv-transfer-config", "--kv_transfer_config"):
        assert live.recomputes(decode_with(f"{option}={json.dumps(transfer)}")[2]) == recomputes
    assert not live.recomputes(decode_with("--kv-transfer-config", "no json")[2])
