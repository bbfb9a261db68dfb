"""Asking roles over HTTP how they are. Never raises for what a server does or fails to do."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType

import httpx

from heteropd.plan.model import Plan, RolePlan
from heteropd.topology.context import Timeouts


@dataclass(frozen=True)
class RoleResponse:
    """``code`` is the HTTP status, None when nothing answered; ``text`` says it in a few words."""

    ok: bool
    code: int | None
    text: str

    @property
    def final(self) -> bool:
        """True when the server refused the request itself: asking again would change nothing."""
        return self.code is not None and 400 <= self.code < 500 and self.code not in (408, 425, 429)


class RoleProbe:
    """HTTP to roles on their own addresses, never through a proxy of the caller's environment."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._client = httpx.Client(trust_env=False)

    def __enter__(self) -> RoleProbe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def health(self, role: RolePlan) -> RoleResponse:
        """One look at a role's health path."""
        return self._ask("GET", role.url + role.health_path, None, self._timeouts.health)

    def completion(self, plan: Plan) -> RoleResponse:
        """One short completion through the router: what decides that a topology is ready."""
        body = {"model": plan.model, "prompt": "Ready, steady,", "max_tokens": 1, "temperature": 0}
        answer = self._ask("POST", plan.router.url + "/v1/completions", body, self._timeouts.request)
        if answer.ok and '"choices"' not in answer.text:
            return RoleResponse(False, answer.code, f"an answer without choices: {answer.text[:120]}")
        return answer

    def _ask(self, method: str, url: str, body: dict[str, object] | None, limit_s: float) -> RoleResponse:
        try:
            reply = self._client.request(method, url, json=body, timeout=limit_s)
        except httpx.TimeoutException:
            return RoleResponse(False, None, f"no answer within {limit_s:g} s")
        except httpx.HTTPError as problem:
            return RoleResponse(False, None, str(problem) or type(problem).__name__)
        if reply.is_success:
            return RoleResponse(True, reply.status_code, reply.text)
        said = " ".join(reply.text.split())[:200]
        return RoleResponse(False, reply.status_code, f"HTTP {reply.status_code} {said}".rstrip())


class CompletionInBackground:
    """A completion may take a minute; roles that die meanwhile must be noticed at once."""

    def __init__(self, probe: RoleProbe, plan: Plan) -> None:
        self._probe, self._plan = probe, plan
        self._thread: threading.Thread | None = None
        self._answer: RoleResponse | None = None

    def poll(self) -> RoleResponse | None:
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
