"""Asking roles over HTTP how they are. Never raises for what a server does or fails to do."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import TracebackType

from heteropd.engine_api.client import COMPLETIONS, EngineClient
from heteropd.engine_api.responses import EngineResponse
from heteropd.plan.model import Plan, RolePlan
from heteropd.topology.context import Timeouts


class RoleProbe:
    """How roles are, one after the other, on one pool of connections."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._client = EngineClient()

    def __enter__(self) -> RoleProbe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def health(self, role: RolePlan) -> EngineResponse:
        """One look at a role's health path."""
        return self._client.request("GET", role.url + role.health_path, limit_s=self._timeouts.health)

    def completion(self, plan: Plan) -> EngineResponse:
        """One short completion through the router: what decides that a topology is ready."""
        body = {"model": plan.model, "prompt": "Ready, steady,", "max_tokens": 1, "temperature": 0}
        url, limit_s = plan.router.url + COMPLETIONS, self._timeouts.request
        response = self._client.request("POST", url, body, limit_s=limit_s)
        if response.ok and not response.json.get("choices"):
            return replace(response, kind="refused", text=f"an answer without choices: {response.text[:120]}")
        return response


class CompletionInBackground:
    """A completion may take a minute; roles that die meanwhile must be noticed at once."""

    def __init__(self, probe: RoleProbe, plan: Plan) -> None:
        self._probe, self._plan = probe, plan
        self._thread: threading.Thread | None = None
        self._answer: EngineResponse | None = None

    def poll(self) -> EngineResponse | None:
        """The answer once it is there, each one once; asks (again) when no question is open."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
            self._thread.join(0.05)
        if self._thread.is_alive():
            return None
        self._thread, answer = None, self._answer
        return answer

    def _run(self) -> None:
        self._answer = self._probe.completion(self._plan)
