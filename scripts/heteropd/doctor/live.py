"""Reads a running topology for T4: /metrics of its engines, logs, and how its roles are."""

from __future__ import annotations

from heteropd.config.env import Env
from heteropd.doctor.model import Running
from heteropd.engine_api.client import EngineClient
from heteropd.engine_api.metrics import Counts
from heteropd.plan.model import Plan, RolePlan
from heteropd.topology import Context, Topology, status

_TIMEOUT_S = 5.0


def read(topology: Topology, context: Context, env: Env) -> Running:
    """What can be read of it; what cannot is unknown, not zero."""
    plan = topology.plan
    with EngineClient(context.clock) as client:
        prefill = Counts.sum(_counts(client, role) for role in plan.of("prefill"))
        decode = Counts.sum(_counts(client, role) for role in plan.of("decode"))
    roles = status(context).roles
    return Running(
        plan=plan,
        prefill=prefill,
        decode=decode,
        logs=_logs(topology, plan),
        forbidden={name: tuple(platform.transports.forbidden) for name, platform in env.platforms.items()},
        unhealthy={role.name: role.health or role.state for role in roles if role.health != "ok"},
    )


def _counts(client: EngineClient, role: RolePlan) -> Counts:
    response = client.request("GET", f"{role.url}/metrics", limit_s=_TIMEOUT_S)
    return Counts.read(response.text if response.ok else "")


def _logs(topology: Topology, plan: Plan) -> dict[str, str | None]:
    logs: dict[str, str | None] = {}
    for role in plan.engines:
        state = topology.role(role.name)
        try:
            if state.alive:
                state.refresh_log()
            logs[role.name] = state.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            logs[role.name] = None
    return logs
