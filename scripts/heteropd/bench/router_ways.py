"""The ways in of the router benchmark: two mock engines, a proxy and the router on loopback, and one load."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from heteropd.bench import cpu, pair
from heteropd.bench.children import Child, Children, free_ports
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config.arguments import PlanArguments
from heteropd.config.bench import RouterSettings
from heteropd.config.machine import probe
from heteropd.engine_api.client import COMPLETIONS, EngineClient
from heteropd.engine_api.requests import Json
from heteropd.errors import KitError
from heteropd.plan import make
from heteropd.plan.environment import ENGINE_PYTHON, child_argv
from heteropd.system import CommandRunner, own_python

Measurement = dict[str, Any]
Counts = dict[str, int]

KINDS = ("prefill", "decode", "plain")
_PEERS = "heteropd.bench.peers"
_READY_LIMIT_S, _ANSWER_LIMIT_S = 60.0, 5.0
_CASE = "case1"  # either would do: only the router's part of the plan is used
_PORTS = ("prefill_port", "decode_port", "proxy", "port", "metrics_port")


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
    engines: dict[str, Child]  # by URL
    load_argv: tuple[str, ...]
    children: Children
    runner: CommandRunner

    @classmethod
    def start(
        cls, settings: RouterSettings, prompt: str, workspace: BenchWorkspace, children: Children
    ) -> Self:
        """Start everything and wait until a completion comes through each way. Raises KitError."""
        places = workspace.places()
        peer = [places[ENGINE_PYTHON], "-m"]
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        request = {"model": "mock", "prompt": prompt, "max_tokens": settings.max_tokens, "temperature": 0}

        def start(name: str, argv: list[str], url: str) -> Child:
            child = children.start(name, argv, own_python({}))
            pair.until_answering(url, request, children)
            return child

        engines = {
            urls[name]: start(f"mock-{name}", [*peer, f"{_PEERS}.mock_engine", str(ports[name])], urls[name])
            for name in _PORTS[:2]
        }
        proxy = [*peer, f"{_PEERS}.proxy", str(ports["proxy"]), urls["prefill_port"], urls["decode_port"]]
        router = router_argv(workspace.root, places, ports)
        ways = (
            Way("direct", urls["decode_port"], None),
            Way("proxy", urls["proxy"], start("proxy", proxy, urls["proxy"])),
            Way("router", urls["port"], start("router", router, urls["port"])),
        )
        body = children.folder / "request.json"
        body.write_text(json.dumps(request))
        load = (*peer, f"{_PEERS}.load", "{url}", str(body), "{clients}")
        times = (str(settings.warmup_s), str(settings.measure_s))
        return cls(settings, ways, engines, (*load, *times), children, workspace.runner)

    def load(self, way: Way, clients: int) -> Measurement:
        """Load one way in once. CPU figures are cores in use. Raises KitError."""
        counts, before, began = self._counts(), self._cpu(way), self.children.clock.now()
        loaded = self._generate(way, clients)
        span, wall = self.children.clock.now() - began, loaded["wall_s"]
        own, engines, machine = (now - then for now, then in zip(self._cpu(way), before, strict=True))
        self.children.check()
        served = self._counts()
        check(way.name, clients, loaded, {kind: served[kind] - counts[kind] for kind in KINDS})
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

    def _generate(self, way: Way, clients: int) -> Json:
        chosen = {"{url}": f"{way.url}{COMPLETIONS}", "{clients}": str(clients)}
        argv = [chosen.get(word, word) for word in self.load_argv]
        limit_s = self.settings.warmup_s + self.settings.measure_s + _READY_LIMIT_S
        done = self.runner.run(argv, env=own_python(os.environ), timeout_s=limit_s)
        if done.code != 0:
            words = (done.err.strip() or done.out.strip() or "no output").splitlines()[-1]
            raise KitError(f"bench: the load generator failed with exit status {done.code}: {words}")
        loaded: Json = json.loads(done.out)
        return loaded

    def _counts(self) -> Counts:
        """Completions that the two engines served so far, by kind."""
        with EngineClient() as client:
            pages = [
                client.request("GET", f"{url}/counts", limit_s=_ANSWER_LIMIT_S).json for url in self.engines
            ]
        return {kind: sum(page.get(kind, 0) for page in pages) for kind in KINDS}

    def _cpu(self, way: Way) -> tuple[float, float, float]:
        """CPU seconds so far: of what stands in between, of the engines, of the whole machine."""
        own = way.child.cpu_s() if way.child else 0.0
        return own, sum(engine.cpu_s() for engine in self.engines.values()), cpu.busy_s()


def router_argv(root: Path, places: Mapping[str, str], ports: Mapping[str, int]) -> list[str]:
    """The router as a plan starts it, over the two mock engines."""
    given = {name: str(port) for name, port in ports.items() if name != "proxy"}
    plan = make(PlanArguments(_CASE, given), root, probe())
    return child_argv(plan.router.argv, places)


def check(way: str, clients: int, loaded: Json, served: Counts) -> None:
    """Raise KitError unless all answers were good and the engines did the work that the way in stands for.

    ``served`` also counts requests of the warm-up, and some whose answer came after the window.
    """
    where, requests = f"bench: {way} with {clients} clients", loaded["requests"]
    if loaded["failures"]:
        raise KitError(f"{where}: {loaded['failures']}")
    if not requests:
        raise KitError(f"{where}: no request was answered in the time measured")
    due = ("plain",) if way == "direct" else ("prefill", "decode")
    if any(served[kind] < requests if kind in due else served[kind] for kind in KINDS):
        raise KitError(f"{where}: {requests} answers, but the engines served {served}: not PD")
