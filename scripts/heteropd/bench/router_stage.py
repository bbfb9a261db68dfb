"""The stage of the router benchmark: two mock engines, a proxy and the router on loopback, and one load."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

import heteropd
from heteropd.bench import cpu
from heteropd.bench.children import Child, Children, free_ports
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config.arguments import PlanArguments
from heteropd.config.bench import RouterSettings
from heteropd.config.machine import probe
from heteropd.errors import KitError
from heteropd.plan import make
from heteropd.plan.environment import ENGINE_PYTHON, child_argv
from heteropd.system import CommandRunner, own_python

Measurement = dict[str, Any]
Counts = dict[str, int]

PEERS = "heteropd.bench.peers"
READY_LIMIT_S = 60.0
LOOPBACK = "127.0.0.1"
CASE = "case1"  # either would do: only the router's part of the plan is used
PORTS = ("prefill_port", "decode_port", "proxy", "port", "metrics_port")


@dataclass(frozen=True)
class Way:
    """A way in: where requests go, and the process (None: none) that stands between load and engines."""

    name: str
    url: str
    child: Child | None


@dataclass(frozen=True)
class RouterBench:
    """What is running, and how to load it."""

    settings: RouterSettings
    ways: tuple[Way, ...]
    engines: tuple[Child, Child]
    engine_urls: tuple[str, str]
    load_argv: tuple[str, ...]
    body: Path
    children: Children
    runner: CommandRunner

    @classmethod
    def start(cls, settings: RouterSettings, prompt: str, lab: BenchWorkspace, children: Children) -> Self:
        """Start everything and wait until a completion comes through each way. Raises KitError."""
        found = lab.places()
        peer = [found[ENGINE_PYTHON], "-m"]
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        urls = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
        request = {"model": "mock", "prompt": prompt, "max_tokens": settings.max_tokens, "temperature": 0}

        def start(name: str, argv: list[str], url: str) -> Child:
            child = children.start(name, argv, peer_env())
            _wait(f"{url}/v1/completions", request, children)
            return child

        mocks = [
            start(f"mock-{name}", [*peer, f"{PEERS}.mock_engine", str(ports[name])], urls[name])
            for name in PORTS[:2]
        ]
        proxy = [*peer, f"{PEERS}.proxy", str(ports["proxy"]), urls["prefill_port"], urls["decode_port"]]
        router = router_argv(lab.root, found, ports)
        ways = (
            Way("direct", urls["decode_port"], None),
            Way("proxy", urls["proxy"], start("proxy", proxy, urls["proxy"])),
            Way("router", urls["port"], start("router", router, urls["port"])),
        )
        body = children.folder / "request.json"
        body.write_text(json.dumps(request))
        return cls(
            settings, ways, (mocks[0], mocks[1]), (urls["prefill_port"], urls["decode_port"]),
            (*peer, f"{PEERS}.load"), body, children, lab.runner,
        )  # fmt: skip

    def one(self, way: Way, clients: int) -> Measurement:
        """Load one way in once. CPU figures are cores in use. Raises KitError."""
        counts, before, began = self._counts(), self._cpu(way), self.children.clock.now()
        loaded = self._load(way, clients)
        span, wall = self.children.clock.now() - began, loaded["wall_s"]
        own, engines, machine = (now - then for now, then in zip(self._cpu(way), before, strict=True))
        self.children.check()
        check(way.name, clients, loaded, {kind: n - counts[kind] for kind, n in self._counts().items()})
        return {
            "way": way.name,
            "clients": clients,
            "req/s": loaded["requests"] / loaded["seconds"],
            "p50 ms": loaded["p50_ms"],
            "p99 ms": loaded["p99_ms"],
            "requests": loaded["requests"],
            "CPU load": loaded["cpu_s"] / wall,
            "CPU way": own / wall,
            "CPU engines": engines / wall,
            cpu.COLUMN: max(0.0, machine - own - engines - loaded["process_cpu_s"]) / span,
        }

    def _load(self, way: Way, clients: int) -> dict[str, Any]:
        settings = self.settings
        argv = [*self.load_argv, f"{way.url}/v1/completions", str(self.body), str(clients)]
        argv += [str(settings.warmup_s), str(settings.measure_s)]
        limit_s = settings.warmup_s + settings.measure_s + READY_LIMIT_S
        done = self.runner.run(argv, env=own_python(os.environ), timeout_s=limit_s)
        if done.code != 0:
            said = (done.err.strip() or done.out.strip() or "it said nothing").splitlines()[-1]
            raise KitError(f"bench: the load generator failed with exit status {done.code}: {said}")
        loaded: dict[str, Any] = json.loads(done.out)
        return loaded

    def _counts(self) -> Counts:
        """Completions that the two engines served so far, by kind."""
        answers = [httpx.get(f"{url}/counts", trust_env=False).json() for url in self.engine_urls]
        return {kind: sum(answer[kind] for answer in answers) for kind in ("prefill", "decode", "plain")}

    def _cpu(self, way: Way) -> tuple[float, float, float]:
        """CPU seconds so far: of what stands in between, of the engines, of the whole machine."""
        own = way.child.cpu_s() if way.child else 0.0
        return own, sum(one.cpu_s() for one in self.engines), cpu.busy_s()


def router_argv(root: Path, places: Mapping[str, str], ports: Mapping[str, int]) -> list[str]:
    """The router as a plan starts it, over the two mock engines."""
    given = {name: str(port) for name, port in ports.items() if name != "proxy"}
    plan = make(PlanArguments(CASE, given), root, probe())
    return child_argv(plan.router.argv, places)


def check(way: str, clients: int, loaded: dict[str, Any], served: Counts) -> None:
    """Raise KitError unless all answers were good and the engines did the work that the way in stands for.

    ``served`` also counts requests of the warm-up, and some whose answer came after the window.
    """
    where = f"bench: {way} with {clients} clients"
    if loaded["failures"]:
        raise KitError(f"{where}: {loaded['failures']}")
    if not loaded["requests"]:
        raise KitError(f"{where}: no request was answered in the time measured")
    wanted, unwanted = (
        (("plain",), ("prefill", "decode")) if way == "direct" else (("prefill", "decode"), ("plain",))
    )
    if any(served[kind] < loaded["requests"] for kind in wanted) or any(served[kind] for kind in unwanted):
        raise KitError(f"{where}: {loaded['requests']} answers, but the engines served {served}: not PD")


def peer_env() -> dict[str, str]:
    """What makes this package importable in the engine's environment."""
    return {"PYTHONPATH": str(Path(heteropd.__file__).parents[1])}


def _wait(url: str, request: dict[str, Any], children: Children) -> None:
    clock = children.clock
    deadline, said = clock.now() + READY_LIMIT_S, "nothing answered"
    while clock.now() < deadline:
        children.check()
        try:
            answer = httpx.post(url, json=request, trust_env=False, timeout=5)
            if answer.is_success:
                return
            said = f"HTTP {answer.status_code} {answer.text[:100]}"
        except httpx.HTTPError as problem:
            said = str(problem) or type(problem).__name__
        clock.sleep(0.1)
    raise KitError(f"bench: no completion from {url} within {READY_LIMIT_S:g} s; last: {said}")
