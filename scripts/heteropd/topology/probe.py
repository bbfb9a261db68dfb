"""Asking roles over HTTP how they are. Never raises for what a server does or fails to do."""

import threading
import time
from dataclasses import replace

from heteropd.engine_api.client import COMPLETIONS, EngineClient
from heteropd.engine_api.metrics import Counts
from heteropd.engine_api.responses import EngineResponse
from heteropd.plan.model import Plan, RolePlan
from heteropd.topology.context import Timeouts

_BUSY_LOOK_S = 0.5
_PROGRESS = ("generation_tokens", "prompt_tokens")


class RoleProbe(EngineClient):
    """How roles are, on one pool of connections; may be used by several threads."""

    def __init__(self, timeouts: Timeouts) -> None:
        super().__init__()
        self._timeouts = timeouts

    def health(self, role: RolePlan) -> EngineResponse:
        """One look at a role's health path. It says that a server listens, not that its engine computes."""
        return self.request("GET", role.url + role.health_path, limit_s=self._timeouts.health)

    def token(self, plan: Plan, engine: RolePlan) -> EngineResponse:
        """One token of one engine, by itself: what a core that hangs behind a healthy API server does not
        give. An engine so busy that ours has to wait is told from it by its counters."""
        response = self._complete(plan, engine.url, self._timeouts.token)
        if response.kind == "late" and self._makes_progress(engine):
            return replace(response, kind="whole", code=200, text="")
        return response

    def completion(self, plan: Plan) -> EngineResponse:
        """One short completion through the router: what decides that a topology is ready."""
        return self._complete(plan, plan.router.url, self._timeouts.request)

    def _complete(self, plan: Plan, url: str, limit_s: float) -> EngineResponse:
        body = {"model": plan.model, "prompt": "Ready, steady,", "max_tokens": 1, "temperature": 0}
        response = self.request("POST", url + COMPLETIONS, body, limit_s=limit_s)
        if response.ok and not response.json.get("choices"):
            return replace(response, kind="refused", text=f"an answer without choices: {response.text[:120]}")
        return response

    def _makes_progress(self, engine: RolePlan) -> bool:
        before = self._progress(engine)
        time.sleep(_BUSY_LOOK_S)
        return self._progress(engine) > before

    def _progress(self, engine: RolePlan) -> int:
        page = self.request("GET", f"{engine.url}/metrics", limit_s=self._timeouts.health)
        counts = Counts.read(page.text if page.ok else "")
        return sum(counts.get(name) or 0 for name in _PROGRESS)


class CompletionInBackground:
    """A completion may take a minute; roles that die meanwhile must be noticed at once."""

    def __init__(self, probe: RoleProbe, plan: Plan) -> None:
        self._probe, self._plan = probe, plan
        self._thread: threading.Thread | None = None
        self._response: EngineResponse | None = None

    def poll(self) -> EngineResponse | None:
        """The response once it is there, each once; sends a request (again) when none is under way."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._ask, daemon=True)
            self._thread.start()
            self._thread.join(0.05)
        if self._thread.is_alive():
            return None
        self._thread, response = None, self._response
        return response

    def _ask(self) -> None:
        self._response = self._probe.completion(self._plan)
