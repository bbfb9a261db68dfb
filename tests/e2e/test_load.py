"""The load benchmark on real engines: valid where all is well, INVALID for each planted fault."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from e2e_kit import ROOT, Kit, kit, port_words, with_lease
from test_faults import with_faults

from heteropd import topology
from heteropd.bench.load.generator import Generator
from heteropd.bench.load.model import Arm, Validity
from heteropd.bench.load.run import LoadSession
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import bench
from heteropd.config.machine import probe
from heteropd.engine_api.client import COMPLETIONS, Endpoint, EngineClient
from heteropd.engine_api.requests import prefill_request
from heteropd.plan.model import Plan
from heteropd.proof import Verdict
from plan_words import make

LEASE_S = 6


@dataclass
class Loaded:
    """A running topology, its faults' switch, a session of load, and an arm of it that is sound."""

    kit: Kit
    control: Path
    session: LoadSession
    before: Verdict
    aggregated: Arm

    def judged(self, session: LoadSession | None = None, after: Verdict | None = None) -> Validity:
        """What the gate says of one level of PD."""
        session = session or self.session
        pd = self.aggregated.model_copy(update={"name": "pd", "levels": [session.level("pd", 2)]})
        after = after or self.before
        return session.conclude([pd, self.aggregated], self.before, after, datetime.now(UTC)).validity


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    with kit() as one, ExitStack() as stack:
        control = one.state / "fault"
        control.write_text("none")
        plan = make(["case1", *port_words()], ROOT, probe())
        roles = [with_lease(with_faults(role, control, ""), LEASE_S) for role in plan.roles]
        plan, context = plan.model_copy(update={"roles": roles}), one.context()
        running = topology.up(plan, context)
        before = one.validate(plan, brief=True)
        settings = bench.load(ROOT)
        smoke = settings.profiles["smoke"]
        shape = smoke.shapes[0].model_copy(update={"prompt_tokens": 60, "output_tokens": 4})
        tiny = smoke.model_copy(update={"levels": [2.0], "requests": 4, "shapes": [shape]})
        settings = settings.model_copy(update={"profiles": {"smoke": tiny}})
        workspace = BenchWorkspace(
            ROOT, context.runner, context.clock, context.console, state_dir=context.state_dir
        )
        session = LoadSession.start(settings, running, before, workspace, stack)
        aggregated = Arm(name="aggregated", description="", cores=2, levels=[session.level("aggregated", 2)])
        yield Loaded(one, control, session, before, aggregated)


@pytest.fixture(autouse=True)
def sound(loaded: Loaded) -> None:
    loaded.control.write_text("none")


def test_a_sound_topology_is_valid(loaded: Loaded) -> None:
    assert loaded.judged().reasons == []


def test_a_decode_that_recomputes_is_invalid(loaded: Loaded) -> None:
    loaded.control.write_text("recomputed")
    reasons = " ".join(loaded.judged().reasons)
    assert "prompt tokens itself" in reasons
    assert "bytes of KV moved" in reasons


def test_a_wrong_layout_is_invalid(loaded: Loaded) -> None:
    loaded.control.write_text("wrong-layout")
    plan = loaded.session.topology.plan
    reasons = loaded.judged(after=loaded.kit.validate(plan, brief=True)).reasons
    assert len(reasons) == 1
    assert reasons[0].startswith("the verdict after the load is FAIL; ")


def test_a_router_that_bypasses_the_decode_is_invalid(loaded: Loaded) -> None:
    prefill = loaded.session.topology.plan.of("prefill")[0]
    bypass = replace(loaded.session, urls={**loaded.session.urls, "pd": prefill.url})
    reasons = " ".join(loaded.judged(bypass).reasons)
    assert "the decode engines served 0 requests of 4" in reasons


@dataclass(frozen=True)
class Abandoning(Generator):
    """Has the prefill compute a prompt whose KV nobody fetches, and sends after its lease."""

    plan: Plan

    def run(
        self, name: str, scenario: dict[str, Any], limit_s: float, watch: Callable[[], None] = lambda: None
    ) -> list[dict[str, Any]]:
        prefill, prompt = self.plan.of("prefill")[0], scenario["data"][0]["data"][0]["prompt"]
        with EngineClient() as client:
            engine = Endpoint(client, prefill.name, prefill.url, 60)
            request = {"model": self.plan.model, "prompt": f"nobody {prompt}", "temperature": 0}
            engine.post(COMPLETIONS, prefill_request(request))
        time.sleep(LEASE_S + 2)
        return super().run(name, scenario, limit_s, watch)


def test_leases_that_expire_are_invalid(loaded: Loaded) -> None:
    sound = loaded.session.generator
    abandoning = Abandoning(sound.version, sound.folder, sound.children, loaded.session.topology.plan)
    reasons = loaded.judged(replace(loaded.session, generator=abandoning)).reasons
    assert "pd at 2: 1 leases that expired" in reasons


@contextmanager
def empty_router() -> Iterator[str]:
    """A router that answers HTTP 200, and no token."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"{}")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            usage = {"prompt_tokens": 60, "completion_tokens": 0, "total_tokens": 60}
            event = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}], "usage": usage}
            self._answer(b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(event).encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_answers_without_tokens_are_invalid(loaded: Loaded) -> None:
    with empty_router() as url:
        empty = replace(loaded.session, urls={**loaded.session.urls, "pd": url})
        reasons = " ".join(loaded.judged(empty).reasons)
    assert "4 of 4 answers have 0 tokens" in reasons
