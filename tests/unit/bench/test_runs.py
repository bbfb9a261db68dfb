"""The engines and the bringup benchmark from end to end, with engines and a `make` that pretend."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from heteropd.bench import bringup, engines, pair
from heteropd.bench.children import free_ports
from heteropd.bench.results import BenchResult, machine, write
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import bench
from heteropd.config.machine import Machine
from heteropd.errors import KitError
from heteropd.plan.environment import ENGINE_PYTHON
from heteropd.plan.model import Plan
from heteropd.system import LocalRunner, SystemClock
from plan_words import make

ROOT = Path(__file__).parents[3]

ENGINE = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Engine(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200); self.end_headers()
        if not body.get("stream"):
            kept = {"remote_block_ids": [1]} if body["kv_transfer_params"].get("do_remote_decode") else None
            self.wfile.write(json.dumps({"choices": [{}], "kv_transfer_params": kept}).encode())
            return
        for made in range(1, body["max_tokens"] + 1):
            time.sleep(0.005)
            self.wfile.write(b"data: %s\\n\\n" % json.dumps({"usage": {"completion_tokens": made}}).encode())
    def log_message(self, *_): pass

class Server(ThreadingHTTPServer):
    def handle_error(self, *_): pass

Server(("127.0.0.1", int(sys.argv[1])), Engine).serve_forever()
"""

MAKEFILE = """
case1:
\t@echo '{"phase": "starting"}' > $(HETEROPD_STATE_DIR)/state.json; sleep 0.2
\t@echo '{"phase": "up", "roles": []}' > $(HETEROPD_STATE_DIR)/state.json; sleep 0.2
down:
\t@rm $(HETEROPD_STATE_DIR)/state.json; touch $(HETEROPD_STATE_DIR)/down
"""


class Hurried(SystemClock):
    """Looks at the CPU for a moment only."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.05))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchWorkspace:
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    monkeypatch.setattr(pair, "plan_on_free_ports", lambda _case, _root: _plan(script))
    monkeypatch.setattr(BenchWorkspace, "places", lambda _workspace: {ENGINE_PYTHON: sys.executable})
    return BenchWorkspace(tmp_path, LocalRunner(), Hurried())


def _plan(script: Path) -> Plan:
    ports = dict(zip(("prefill_port", "decode_port", "port"), free_ports(3), strict=True))
    plan = make(["case1", *(f"{name}={port}" for name, port in ports.items())], ROOT, Machine(cores=[0, 1]))
    roles = [
        role.model_copy(update={"argv": ["${ENGINE_PYTHON}", str(script), str(role.ports.api)]})
        for role in plan.roles
    ]
    return plan.model_copy(update={"roles": roles})


def _nothing_left(workspace: BenchWorkspace) -> bool:
    return not any(
        str(workspace.root) in " ".join(process.info["cmdline"] or [])
        for process in psutil.process_iter(["cmdline"])
    )


def test_engines(workspace: BenchWorkspace) -> None:
    chosen = bench.load(ROOT).engines
    chosen = bench.changed(
        chosen, {"rounds": "2", "warmup_s": "0.1", "measure_s": "0.4", "max_tokens": "8", "clients": "2"}
    )
    result = engines.measure(chosen, "prompt", workspace)
    assert [row["engines"] for row in result.rows] == [
        "prefill-0 alone", "decode-0 alone", engines.BOTH, engines.WHOLE,
    ]  # fmt: skip
    assert [row["clients"] for row in result.rows] == [2, 2, 4, 4]
    assert all(aim.value is not None and 0 < aim.value < 10 for aim in result.targets)
    assert _nothing_left(workspace)
    known = {"what": "engines", "started": datetime.now(UTC), "seconds": 1.0, "machine": machine()}
    whole = BenchResult(settings=chosen.model_dump(), **known, **dict(result))
    again = BenchResult.model_validate_json(write(whole, workspace.folder("")).read_text())
    assert again == whole


def test_bringup(workspace: BenchWorkspace) -> None:
    (workspace.root / "Makefile").write_text(MAKEFILE)
    state = workspace.folder("bringup-run") / "state"
    state.mkdir(parents=True)
    chosen = bench.changed(bench.load(ROOT).bringup, {"rounds": "2"})
    result = bringup.measure(chosen, "prompt", workspace)
    seconds = {row["what"]: row["seconds"] for row in result.rows}
    assert list(seconds) == [bringup.BARE, bringup.READY, bringup.VERDICT]
    assert seconds[bringup.READY] + 0.1 < seconds[bringup.VERDICT]
    assert [figures["what"] for figures in result.rounds] == ["bare", "make", "make", "bare"], (
        "turns must alternate"
    )
    assert (state / "down").exists()
    assert _nothing_left(workspace)


def test_bringup_without_a_verdict_is_no_figure(workspace: BenchWorkspace) -> None:
    (workspace.root / "Makefile").write_text("case1:\n\t@echo FAIL; exit 1\ndown:\n\t@true\n")
    (workspace.folder("bringup-run") / "state").mkdir(parents=True)
    with pytest.raises(KitError, match="make-case1 ended with exit status 2"):
        bringup.measure(bench.changed(bench.load(ROOT).bringup, {"rounds": "1"}), "prompt", workspace)
    assert _nothing_left(workspace)


def test_an_engine_that_keeps_no_blocks_is_no_disaggregation(
    monkeypatch: pytest.MonkeyPatch, workspace: BenchWorkspace
) -> None:
    monkeypatch.setattr(pair, "_complete", lambda _role, _request: {"kv_transfer_params": None})
    with pytest.raises(KitError, match="kept no KV blocks"):
        pair.disaggregated(_plan(workspace.root / "engine.py"), "prompt")
