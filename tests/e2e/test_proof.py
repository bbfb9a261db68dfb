"""What users, other validations and dying processes do around a proof, on real engines.

The first cause is named, in time, and nothing sound is refused.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from e2e_kit import ROOT, Kit, kit, port_words

from heteropd import topology
from heteropd.config.machine import probe
from heteropd.engine_api.requests import prefill_request
from heteropd.plan.model import KVGeometry, Plan, RolePlan
from heteropd.proof import Verdict
from plan_words import make


@pytest.fixture(scope="module")
def case() -> Iterator[tuple[Kit, Plan]]:
    """Case 1, up and not validated."""
    with kit() as one:
        done = one.run("up", "case1", *port_words())
        assert done.returncode == 0, done.stdout + done.stderr
        yield one, one.state_of_plan()


def failed(verdict: Verdict) -> set[str]:
    return {check.id for check in verdict.failures()}


def test_geometry_that_the_engines_do_not_have_is_refused(case: tuple[Kit, Plan]) -> None:
    """The plan claims equal geometry; the decode has another, and converts."""
    one, plan = case
    claimed = KVGeometry(layout="HND", block_size=16, wire_layout="HND", wire_block_size=16)
    roles = [
        role.model_copy(update={"kv": claimed}) if role.role == "decode" else role for role in plan.roles
    ]
    verdict = one.validate(plan.model_copy(update={"roles": roles}), brief=True)
    assert {"identity.block_size", "identity.layout"} <= failed(verdict), verdict.headline()


def test_an_abandoned_hand_over_and_an_interrupted_validation_harm_nothing(case: tuple[Kit, Plan]) -> None:
    one, plan = case
    prefill = plan.of("prefill")[0]
    body = prefill_request({"model": plan.model, "prompt": "Nobody will fetch this. " * 20, "max_tokens": 1})
    assert httpx.post(f"{prefill.url}/v1/completions", json=body, timeout=60).json()["kv_transfer_params"]
    time.sleep(12)
    with validation(one) as running:
        time.sleep(6)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    done = one.run("validate")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_second_validation_at_once_is_refused_in_one_line(case: tuple[Kit, Plan]) -> None:
    one, _ = case
    with validation(one) as running:
        time.sleep(5)
        second = one.run("validate")
        out, _ = running.communicate(timeout=200)
    assert (second.returncode, len(second.stderr.strip().splitlines())) == (2, 1), second.stderr
    assert "another validation" in second.stderr
    assert running.returncode == 0, out


def test_a_router_that_returns_the_prefills_text_is_refused(case: tuple[Kit, Plan]) -> None:
    one, plan = case
    with deceiving_router(plan) as port:
        ports = plan.router.ports.model_copy(update={"api": port})
        router = plan.router.model_copy(update={"ports": ports})
        verdict = one.validate(plan.model_copy(update={"roles": [*plan.engines, router]}), brief=True)
    assert "kv_transfer.prefill_generated" in failed(verdict), verdict.headline()


def test_a_full_disk_does_not_lose_the_verdict(case: tuple[Kit, Plan]) -> None:
    one, _ = case
    reports = one.state / "reports"
    reports.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "small", str(reports)], check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        done = one.run("validate")
    finally:
        subprocess.run(["umount", str(reports)], check=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    assert "could not be kept" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("role", "limit_s"), [("router", 15), ("decode-0", 60), ("prefill-0", 60)])
def test_what_is_stopped_before_is_named_in_time(case: tuple[Kit, Plan], role: str, limit_s: float) -> None:
    one, _ = case
    with stopped(one, role):
        began = time.monotonic()
        done = one.run("validate")
        took = time.monotonic() - began
    assert took < limit_s
    if done.returncode == 2:  # seen before anything is asked
        assert (role in done.stderr, len(done.stderr.strip().splitlines())) == (True, 1), done.stderr
        return
    assert done.returncode == 1, done.stdout + done.stderr
    failures = [check for check in one.report()["checks"] if check["status"] == "FAIL"]
    assert len(failures) == 1, "the first cause alone"
    assert failures[0]["text"].startswith(role)


def test_a_core_that_is_stopped_meanwhile_is_named_within_two_minutes(case: tuple[Kit, Plan]) -> None:
    one, _ = case
    began = time.monotonic()
    with validation(one) as running:
        time.sleep(5)
        with stopped(one, "decode-0"):
            out, _ = running.communicate(timeout=200)
    assert running.returncode == 1, out
    assert time.monotonic() - began < 120
    (failure,) = (check for check in one.report()["checks"] if check["status"] == "FAIL")
    assert "decode-0" in failure["text"], failure
    assert one.run("validate").returncode == 0, "it runs on"


def test_a_model_without_a_chat_template_is_proven(tmp_path: Path) -> None:
    with kit() as one:
        plan = make(["case1", *port_words()], ROOT, probe())
        context = one.context()
        assert context.model_dir is not None
        bare = without_chat_template(Path(context.model_dir(plan.model_source)), tmp_path)
        roles = [loading(role, bare) for role in plan.roles]
        topology.up(plan.model_copy(update={"roles": roles}), context)
        done = one.run("validate")
        assert done.returncode == 0, done.stdout + done.stderr
        chat = next(check for check in one.report()["checks"] if check["id"] == "connectivity.chat")
        assert (chat["status"], "chat template" in chat["text"]) == ("SKIP", True), chat


def test_another_tokenizer_and_another_template_are_refused(tmp_path: Path) -> None:
    """One merge is lost on the decode, and its template has another word of as many tokens."""
    with kit() as one:
        plan = make(["case1", *port_words()], ROOT, probe())
        context = one.context()
        assert context.model_dir is not None
        other = with_a_merge_less(Path(context.model_dir(plan.model_source)), tmp_path)
        roles = [loading(role, other) if role.role == "decode" else role for role in plan.roles]
        topology.up(plan.model_copy(update={"roles": roles}), context)
        done = one.run("validate")
        assert done.returncode == 1, done.stdout + done.stderr
        wrong = {check["id"] for check in one.report()["checks"] if check["status"] == "FAIL"}
        assert {"identity.tokenizer", "identity.files"} <= wrong


def loading(role: RolePlan, folder: Path) -> RolePlan:
    """An engine that loads another folder."""
    if role.role == "router":
        return role
    argv = list(role.argv)
    argv[argv.index("--model") + 1] = str(folder)
    return role.model_copy(update={"argv": argv})


def linked(model: Path, into: Path) -> Path:
    """A folder with the model's files."""
    for file in model.iterdir():
        (into / file.name).symlink_to(file)
    return into


def replaced(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)


def without_chat_template(model: Path, into: Path) -> Path:
    folder = linked(model, into)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    config.pop("chat_template", None)
    replaced(file, json.dumps(config))
    return folder


def with_a_merge_less(model: Path, into: Path) -> Path:
    """Without the last merge that makes a word of the probes."""
    folder = linked(model, into)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in tokenizer["model"]["merges"]]
    lost = next(pair for pair in pairs if "".join(pair) == "Ġanchor")
    tokenizer["model"]["merges"].pop(pairs.index(lost))
    replaced(file, json.dumps(tokenizer))
    return folder


@contextmanager
def validation(one: Kit) -> Iterator[subprocess.Popen[str]]:
    """A validation under way."""
    argv = [sys.executable, "-m", "heteropd", "validate"]
    with subprocess.Popen(
        argv, cwd=one.root, env=one.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def stopped(one: Kit, name: str) -> Iterator[None]:
    """A router, or the cores behind an engine's API server, that do not run for a while."""
    role = next(role for role in one.status()["roles"] if role["name"] == name)
    process = psutil.Process(role["pid"])
    victims = [process] if name == "router" else process.children(recursive=True)
    try:
        for victim in victims:
            os.kill(victim.pid, signal.SIGSTOP)
        yield
    finally:
        for victim in victims:
            os.kill(victim.pid, signal.SIGCONT)


@contextmanager
def deceiving_router(plan: Plan) -> Iterator[int]:
    """Hands over as it should, and returns the prefill's own answer instead of the decode's."""
    prefill, decode = plan.of("prefill")[0].url, plan.of("decode")[0].url

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, b"{}", "application/json")

        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            own = httpx.post(prefill + self.path, json=body, timeout=120)
            kept = httpx.post(prefill + self.path, json=prefill_request(body), timeout=120).json()
            params = {"kv_transfer_params": kept["kv_transfer_params"], "stream": False}
            httpx.post(decode + self.path, json={**body, **params}, timeout=120)
            self._send(own.status_code, own.content, own.headers["content-type"])

        def _send(self, code: int, content: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
