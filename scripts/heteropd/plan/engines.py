"""Renders one engine: environment, command, container."""

import json
from dataclasses import dataclass
from typing import Any

from heteropd import ucx
from heteropd.config.cases import EngineCase
from heteropd.config.env import Env
from heteropd.config.hosts import RoleAdditions
from heteropd.config.pins import Pins
from heteropd.config.request import PlanRequest
from heteropd.config.types import EngineRole, PlatformName
from heteropd.plan.arguments import TENSOR_PARALLEL
from heteropd.plan.container_options import engine_container
from heteropd.plan.environment import with_peers_exempt
from heteropd.plan.model import KVGeometry, Ports, RolePlan
from heteropd.plan.placement import EnginePlacement, bind
from heteropd.plan.template import fill_all, fill_env

SIDE_CHANNEL_PORT = "VLLM_NIXL_SIDE_CHANNEL_PORT"
KV_TRANSFER = "--kv-transfer-config"


@dataclass(frozen=True)
class EngineSpec:
    """What is decided about an engine before it is rendered. ``agreed`` is in tokens; ``beside`` is the real
    platform of a plan that has stand-ins too."""

    role: EngineRole
    case: EngineCase
    prefix_caching: bool
    runs_on: PlatformName
    beside: PlatformName | None
    place: EnginePlacement
    kv: KVGeometry
    agreed: int | None
    variant: str
    model: str
    served_name: str
    cores: list[int]


def render_engine(spec: EngineSpec, request: PlanRequest, env: Env, pins: Pins) -> RolePlan:
    """The engine with everything its command needs. Raises BadInput for a template's unknown field."""
    platform = env.platforms[spec.runs_on]
    additions = request.hosts.roles.engine(spec.role) if request.hosts else RoleAdditions()
    variables = _environment(spec, request, env, pins) | spec.place.env | additions.env
    return RolePlan(
        name=f"{spec.role}-{spec.place.index}",
        role=spec.role,
        platform=spec.case.platform,
        runs_on=spec.runs_on,
        host=spec.place.host,
        env=with_peers_exempt(variables, request),
        argv=_command(spec, additions, request, env, pins) + additions.args,
        ports=Ports(
            api=spec.place.port, side_channel=spec.place.side_channel, side_channels=spec.place.ranks
        ),
        kv=spec.kv,
        dtype=_dtype(spec, env),
        cores=spec.cores,
        container=engine_container(spec.runs_on, spec.variant, spec.place, request, env),
        health_path=platform.health_path,
    )


def _dtype(spec: EngineSpec, env: Env) -> str | None:
    return env.standins.beside.dtype if spec.beside else env.platforms[spec.runs_on].dtype


def _fields(spec: EngineSpec, request: PlanRequest, env: Env) -> dict[str, str | int]:
    return {
        "model": spec.model,
        "served_name": spec.served_name,
        "bind": bind(spec.place.host, request, env),
        "address": spec.place.host.address,
        "port": spec.place.port,
        "side_channel_port": spec.place.side_channel,
        "kv_layout": spec.kv.layout,
        "block_size": spec.kv.block_size,
        "cores": ",".join(map(str, spec.cores)),
        "dtype": _dtype(spec, env) or "auto",
    }


def _environment(spec: EngineSpec, request: PlanRequest, env: Env, pins: Pins) -> dict[str, str]:
    platform = env.platforms[spec.runs_on]
    fields = _fields(spec, request, env)
    where = f"env/platforms/{spec.runs_on}.yaml"
    rendered: dict[str, str] = {}
    if platform.accelerator:
        rendered |= fill_env(env.defaults.engines.env, fields, "env/defaults.yaml")
        if spec.place.side_channel != env.defaults.ports.side_channel:
            rendered[SIDE_CHANNEL_PORT] = str(spec.place.side_channel)
    if platform.visible_devices and spec.place.visible:
        rendered[platform.visible_devices] = spec.place.visible
    rendered |= fill_env(platform.env, fields, where)
    if spec.beside is None:
        rendered |= platform.alone_env
    elif not platform.accelerator:
        real = env.platforms[spec.beside]
        rendered[ucx.TLS] = (real.env | (real.local_env if request.hosts is None else {}))[ucx.TLS]
    if spec.place.nics and (platform.accelerator or spec.beside):
        rendered[ucx.NET_DEVICES] = spec.place.nics
    if request.hosts is None:
        rendered |= platform.local_env
        rendered |= platform.local_model_env if _is_local(spec.model) else {}
    return rendered | pins.added_env(spec.runs_on, spec.role, spec.variant)


def _command(
    spec: EngineSpec, additions: RoleAdditions, request: PlanRequest, env: Env, pins: Pins
) -> list[str]:
    platform = env.platforms[spec.runs_on]
    fields = _fields(spec, request, env)
    argv: list[str] = []
    if platform.accelerator:
        engines = env.defaults.engines
        process = request.hosts is None and request.parameters.runtime == "process"
        argv += fill_all(engines.process_argv if process else engines.argv, fields, "env/defaults.yaml")
        if spec.model != spec.served_name:
            argv += ["--served-model-name", spec.served_name]
        if fields["bind"] == env.defaults.bind["ipv6"]:
            argv += ["--host", str(fields["bind"])]
    argv += fill_all(platform.argv, fields, f"env/platforms/{spec.runs_on}.yaml")
    if spec.beside is None:
        argv += platform.alone_argv
    elif platform.accelerator:
        argv += ["--dtype", env.standins.beside.dtype, *env.standins.beside.argv]
    if request.parameters.revision:
        argv += ["--revision", request.parameters.revision]
    if additions.tensor_parallel_size > 1:
        argv += [TENSOR_PARALLEL, str(additions.tensor_parallel_size)]
    if not spec.prefix_caching:
        argv.append("--no-enable-prefix-caching")
    return [*argv, KV_TRANSFER, json.dumps(_kv_transfer(spec, request, env, pins))]


def _kv_transfer(spec: EngineSpec, request: PlanRequest, env: Env, pins: Pins) -> dict[str, Any]:
    platform = env.platforms[spec.runs_on]
    through_host = pins.variants[spec.variant].kv_buffer_device
    standin = env.standins.platforms[spec.case.platform] if spec.runs_on != spec.case.platform else None
    permute = platform.kv_transfer.enable_permute_local_kv
    if standin and env.platforms[spec.case.platform].kv_transfer.enable_permute_local_kv is not None:
        permute = True
    if through_host:  # with it, vLLM keeps the buffer as HND, whatever the cache's layout
        permute = None
    extra: dict[str, Any] = {"enforce_handshake_compat": False}
    if spec.agreed is not None:
        extra["agreed_block_size"] = spec.agreed
    digest = request.parameters.digest != "off"
    if digest:
        extra |= {"digest": request.parameters.digest, "digest_sample": request.parameters.digest_sample}
    config: dict[str, Any] = {"kv_connector": "NixlConnector"}
    if standin and (spec.kv.convert_on_save or spec.role == "decode"):
        connectors = standin.digest if digest else standin
        name = connectors.decode_connector if spec.role == "decode" else connectors.connector
        config = {"kv_connector": name, "kv_connector_module_path": connectors.connector_module}
    elif digest:
        plain = env.defaults.digest
        config = {"kv_connector": plain.connector, "kv_connector_module_path": plain.connector_module}
    config["kv_role"] = env.defaults.engines.kv_role(spec.role, pins.vllm)
    config["kv_buffer_device"] = through_host or platform.kv_transfer.kv_buffer_device
    if permute is not None:
        config["enable_permute_local_kv"] = permute
    return config | {"kv_connector_extra_config": extra}


def _is_local(model: str) -> bool:
    return model.startswith(("/", "${"))
