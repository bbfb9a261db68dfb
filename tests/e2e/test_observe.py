"""Prometheus beside a running topology: every metric of dashboard and rules is there, every alert fires."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from e2e_kit import ROOT, free_ports, kit, listening, port_words, running, with_lease
from test_digest import Digesting
from test_faults import with_faults

from heteropd import topology
from heteropd.config.machine import probe
from heteropd.engine_api.requests import prefill_request
from heteropd.plan.model import RolePlan
from plan_words import make

pytestmark = pytest.mark.usefixtures("prometheus")  # before `observed`: it is of the session
FILES = ROOT / "env/observability"
RULES = yaml.safe_load((FILES / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = json.loads((FILES / "grafana/dashboards/heteropd.json").read_text())["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel.get("targets", [])]
# Of a newer vLLM than the stand-ins'; the test fails as soon as theirs has it.
NEWER = {"vllm:nixl_num_notifications_after_expiry_total": "0.32"}
METRIC = re.compile(r"\b(?:vllm:|heteropd:|vllm_router_)\w+|\bup\b")
LEASE_S = 16
BLOCKS = 130  # of the prefill's cache: just enough for the longest prompt


@dataclass
class Observed:
    """A running topology with planted faults on call, and Prometheus beside it, whose rules do not wait."""

    topology: Digesting
    port: int

    def api(self, path: str, **params: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        body = httpx.get(url, params=params, timeout=30).json()
        assert body["status"] == "success", body
        return body["data"]

    def firing(self) -> set[str]:
        alerts = self.api("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def pid(self, name: str) -> int:
        return next(int(role["pid"]) for role in self.topology.kit.status()["roles"] if role["name"] == name)


def quick_lease(role: RolePlan) -> RolePlan:
    """Engines whose leases end soon, and a prefill with little room."""
    role = with_lease(role, LEASE_S)
    if role.role != "prefill":
        return role
    return role.model_copy(update={"argv": [*role.argv, "--num-gpu-blocks-override", str(BLOCKS)]})


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    with kit() as one:
        plan = make(["case1", "digest=enforce", *port_words()], ROOT, probe())
        roles = [quick_lease(with_faults(role, one.state / "fault", "")) for role in plan.roles]
        digesting = Digesting(one, plan.model_copy(update={"roles": roles}))
        digesting.switch("none")
        topology.up(digesting.plan, one.context(digesting.plan))
        [port] = free_ports(1)
        done = one.run("observe", "grafana=0", f"port={port}")
        assert done.returncode == 0, done.stdout + done.stderr
        hasten(one.state / "observe")
        yield Observed(digesting, port)


def hasten(folder: Path) -> None:
    """Scrape each second, look back for seconds where the rules look back for minutes, wait for nothing."""
    rules = re.sub(r"\n +for: .*", "", (FILES / "alerts.yml").read_text())
    (folder / "alerts.yml").write_text(re.sub(r"(\[|offset )\d+m", r"\g<1>10s", rules))
    config = folder / "prometheus.yml"
    config.write_text(re.sub(r"(_interval): 5s", r"\1: 1s", config.read_text()))
    recorded = json.loads((folder / "services.json").read_text())
    os.kill(recorded["prometheus"]["process"]["pid"], signal.SIGHUP)


def eventually(condition: Callable[[], bool], what: str, limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.3)


def test_rules_and_configuration_are_prometheus_own() -> None:
    for argv in (["check", "rules", FILES / "alerts.yml"], ["check", "config", FILES / "prometheus.yml"]):
        done = subprocess.run(["promtool", *map(str, argv)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_status_names_the_url(observed: Observed) -> None:
    url = f"http://127.0.0.1:{observed.port}"
    assert observed.topology.kit.status()["observe"] == {"prometheus": url}
    assert f"prometheus: {url}" in observed.topology.kit.run("status").stdout


def test_sound_requests_raise_no_alert(observed: Observed) -> None:
    assert observed.topology.ask_many(6, "sound", most=200) == [200] * 6
    eventually(lambda: len(observed.api("query", query="up == 1")["result"]) == 3, "three roles are scraped")
    time.sleep(5)
    assert observed.firing() == set()


def wrong_bit(held: Digesting) -> None:
    held.switch("one-bit")
    assert held.ask(100, random.Random("differs")) >= 500


def no_digest(held: Digesting) -> None:
    request = held.request(100, random.Random("unknown"))
    assert held.hand_over(request, lambda params: params.pop("heteropd_kv_digest")).status_code >= 500


def no_such_prefill(held: Digesting) -> None:
    lost = {"remote_engine_id": "nobody", "remote_port": free_ports(1)[0]}
    request = held.request(100, random.Random("failed"))
    assert held.hand_over(request, lambda params: params.update(lost)).status_code >= 500


def recomputed(held: Digesting) -> None:
    held.switch("recomputed")
    assert held.ask_many(6, "recomputed", most=200) == [200] * 6


FAULTS = {
    "KVDigestDiffers": wrong_bit,
    "RouterErrors": wrong_bit,
    "KVDigestUnknown": no_digest,
    "KVTransferFailed": no_such_prefill,
    "KVNotTransferred": recomputed,
}


@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_fires_on_its_fault(observed: Observed, alert: str) -> None:
    try:
        FAULTS[alert](observed.topology)
        eventually(lambda: alert in observed.firing(), alert)
    finally:
        observed.topology.switch("none")


def test_kv_that_nobody_fetches_fills_the_prefill_and_expires(observed: Observed) -> None:
    held = observed.topology
    [prefill] = held.plan.of("prefill")

    def abandon(index: int) -> None:
        held.post(prefill.url, prefill_request(held.request(2000, random.Random(f"abandoned {index}"))))

    abandon(0)
    waits = threading.Thread(target=abandon, args=[1])
    waits.start()
    expected = {"KVCacheNearlyFull", "RequestsWaiting"}
    seen: set[str] = set()
    eventually(lambda: expected <= seen.union(observed.firing()), f"{expected}")
    waits.join()
    eventually(lambda: "KVLeaseExpired" in observed.firing(), "KVLeaseExpired")


def test_a_core_that_hangs_behind_a_healthy_api_server_is_an_alert(observed: Observed) -> None:
    held = observed.topology
    cores = psutil.Process(observed.pid("decode-0")).children(recursive=True)
    body = held.request(50, random.Random("stalled")) | {"max_tokens": 800}

    def stream() -> None:
        with contextlib.suppress(httpx.HTTPError):  # a later test ends what is left of it
            held.post(held.plan.router.url, body)

    threading.Thread(target=stream, daemon=True).start()
    query = 'vllm:num_requests_running{role="decode"} == 1'
    eventually(lambda: bool(observed.api("query", query=query)["result"]), "a request runs")
    try:
        for core in cores:
            core.suspend()
        eventually(lambda: "EngineStalled" in observed.firing(), "EngineStalled")
    finally:
        for core in cores:
            core.resume()


def test_a_dead_role_is_an_alert(observed: Observed) -> None:
    """It is not started again. The router notices, first with a request and then by itself."""
    held = observed.topology
    process = psutil.Process(observed.pid("prefill-0"))
    for member in [process, *process.children(recursive=True)]:
        member.kill()
    assert held.ask(20, random.Random("dead")) >= 500
    expected = {"RoleDown", "RouterSeesUnhealthy"}
    eventually(lambda: expected <= observed.firing(), f"{expected}")


def test_every_metric_of_dashboard_and_rules_is_on_a_page(observed: Observed) -> None:
    named = {
        name for expr in [*EXPRESSIONS, *(rule["expr"] for rule in RULES)] for name in METRIC.findall(expr)
    }
    known = set(observed.api("label/__name__/values"))
    assert len(named) > 30
    assert named - known == set(NEWER)


def test_every_panel_shows_something(observed: Observed) -> None:
    """In the minutes of these tests: no label and no function is wrong."""
    end = time.time()

    def shows_nothing(expression: str) -> bool:
        for name, value in {"$__rate_interval": "1m", "$__range": "10m", "$name": ".*"}.items():
            expression = expression.replace(name, value)
        return not observed.api("query_range", query=expression, start=end - 900, end=end, step=5)["result"]

    empty = [expression for expression in EXPRESSIONS if shows_nothing(expression)]
    assert [expression for expression in empty if not NEWER.keys() & set(METRIC.findall(expression))] == []


def test_every_alert_was_seen() -> None:
    seen = {*FAULTS, "KVCacheNearlyFull", "RequestsWaiting", "KVLeaseExpired", "EngineStalled"}
    seen |= {"RoleDown", "RouterSeesUnhealthy"}
    newer = {rule["alert"] for rule in RULES if NEWER.keys() & set(METRIC.findall(rule["expr"]))}
    assert {rule["alert"] for rule in RULES} == seen | newer


def test_down_ends_it_and_leaves_nothing(observed: Observed) -> None:
    """Last in this file."""
    one = observed.topology.kit
    recorded = json.loads((one.state / "observe/services.json").read_text())
    done = one.run("down")
    assert done.returncode == 0, done.stderr
    assert "ended: prometheus" in done.stdout
    assert not running(recorded["prometheus"]["process"]["pid"])
    assert not listening(observed.port)
    assert {file.name for file in one.state.iterdir()} <= {"logs", "reports", "lock", "fault"}
