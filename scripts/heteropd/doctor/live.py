"""Reads a running topology for T4: /metrics of its roles, what they serve, logs, and how its roles are."""

from typing import Any

from heteropd.config.env import Env
from heteropd.doctor.model import Running
from heteropd.engine_api.client import EngineClient
from heteropd.engine_api.metrics import Counts, samples, total
from heteropd.plan.arguments import EngineArguments, engine_words, parse
from heteropd.plan.model import Plan, RolePlan
from heteropd.proof import geometry
from heteropd.topology import Context, Topology, status

_TIMEOUT_S = 5.0
_ROUTED = "vllm_router_pd_requests"
_KV_TRANSFER = "--kv-transfer-config"


def read(topology: Topology, context: Context, env: Env) -> Running:
    """What can be read of it; what cannot is unknown, not zero."""
    plan = topology.plan
    decodes = [(role, parse(engine_words(role.argv), env.vllm_options)) for role in plan.of("decode")]
    with EngineClient(context.clock) as client:
        prefill = Counts.sum(Counts.read(_page(client, role.url)) for role in plan.of("prefill"))
        decode = Counts.sum(Counts.read(_page(client, role.url)) for role, _ in decodes)
        routed = _routed(client, plan.router)
        roots = [_root(client, role) for role, _ in decodes]
    roles = status(context).roles
    return Running(
        plan=plan,
        prefill=prefill,
        decode=decode,
        logs={role.name: topology.role(role.name).read_log() for role in plan.engines},
        forbidden={name: tuple(platform.transports.forbidden) for name, platform in env.platforms.items()},
        unhealthy={role.name: role.health or role.state for role in roles if role.health != "ok"},
        routed=routed,
        token_bytes=token_bytes_of(plan, *decodes[0], roots),
        recomputing=tuple(role.name for role, arguments in decodes if recomputes(arguments)),
    )


def _page(client: EngineClient, url: str) -> str:
    response = client.request("GET", f"{url}/metrics", limit_s=_TIMEOUT_S)
    return response.text if response.ok else ""


def _routed(client: EngineClient, router: RolePlan) -> int | None:
    """Requests that the router sent to a prefill and a decode; None where it does not count them."""
    if router.ports.metrics is None:
        return None
    page = _page(client, f"{router.url.rpartition(':')[0]}:{router.ports.metrics}")
    count = total(samples(page), _ROUTED, {})
    return None if count is None else round(count)


def _root(client: EngineClient, role: RolePlan) -> str:
    """The folder or hub id that an engine loaded its model from; empty where it does not say."""
    response = client.request("GET", f"{role.url}/v1/models", limit_s=_TIMEOUT_S)
    served: Any = response.json if response.ok else None
    models = served.get("data") if isinstance(served, dict) else None
    return str(models[0].get("root") or "") if models else ""


def token_bytes_of(plan: Plan, role: RolePlan, arguments: EngineArguments, roots: list[str]) -> int | None:
    """KV of a token on a decode. None where the configuration is not on this machine, or where not all layers
    keep all of a prompt's KV."""
    config = geometry.find_config(*filter(None, [*roots, plan.model_source, role.host.model or ""]))
    if config is None or _keeps_less(config):
        return None
    dtype = geometry.kv_dtype(role.argv) or arguments.text("--dtype") or role.dtype
    if dtype in (None, "auto"):
        dtype = geometry.dtype_of(config)
    return geometry.bytes_per_token(config, dtype or "")


def _keeps_less(config: geometry.Config) -> bool:
    text = config.get("text_config") or config
    window = text.get("sliding_window") and text.get("use_sliding_window", True)
    return bool(window) or any(kind != "full_attention" for kind in text.get("layer_types") or [])


def recomputes(arguments: EngineArguments) -> bool:
    """Whether an engine computes a prompt itself where its KV does not come."""
    config = arguments.json(_KV_TRANSFER)
    extra = config.get("kv_connector_extra_config") if isinstance(config, dict) else None
    given = {**(config if isinstance(config, dict) else {}), **(extra if isinstance(extra, dict) else {})}
    return given.get("kv_load_failure_policy") == "recompute"
