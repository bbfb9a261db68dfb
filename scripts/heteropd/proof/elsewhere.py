"""A topology that the kit did not start, as far as a proof must know it: where its roles answer, how KV lies.

Block sizes and the model are asked of the engines where nobody gives them; an engine tells its KV layout in
its log only, which is not read here. No process of it is touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from heteropd.config.types import EngineRole, KVLayout, Role
from heteropd.engine_api.client import AnswerProblem, Endpoint, EngineClient
from heteropd.engine_api.metrics import cache_config
from heteropd.errors import BadInput
from heteropd.plan.geometry import WIRE_LAYOUT, decode_geometry, prefill_geometry
from heteropd.plan.model import HostPlan, KVGeometry, Plan, Ports, RolePlan

CASE = "elsewhere"
UNKNOWN = "unknown"
_WHERE = "command line"
_LIMIT_S = 10.0
_SIDES: tuple[EngineRole, EngineRole] = ("prefill", "decode")


@dataclass(frozen=True)
class Given:
    """What the caller says of the topology. Block sizes count tokens; None is asked of the engines."""

    router: str
    prefills: Sequence[str]
    decodes: Sequence[str]
    layouts: Mapping[EngineRole, str | None]
    block_sizes: Mapping[EngineRole, int | None]
    agreed_block_size: int | None = None
    model: str | None = None


def plan_elsewhere(given: Given, transport: httpx.BaseTransport | None = None) -> Plan:
    """The plan of what runs at these URLs. Raises BadInput for what is missing, or not told by an engine."""
    urls = {"prefill": list(given.prefills), "decode": list(given.decodes)}
    router_place = _place("url", given.router)
    places = {role: [_place(role, url) for url in urls[role]] for role in _SIDES}
    layouts = {role: _layout(role, given.layouts.get(role)) for role in _SIDES}
    for role in _SIDES:
        if not urls[role]:
            raise BadInput(_WHERE, role, None, "missing", f"add {role}=http://HOST:PORT of the {role} engine")
    with EngineClient(transport=transport) as client:
        blocks = {
            role: given.block_sizes.get(role) or _block_size(client, role, urls[role]) for role in _SIDES
        }
        first = Endpoint(client, "prefill-0", urls["prefill"][0].rstrip("/"), _LIMIT_S)
        model, root = _model(first, given.model)
    prefill = prefill_geometry(layouts["prefill"], blocks["prefill"], convert_to=given.agreed_block_size)
    permutes = prefill.wire_layout == WIRE_LAYOUT
    decode = decode_geometry(layouts["decode"], blocks["decode"], prefill, may_permute=permutes)
    kv: dict[EngineRole, KVGeometry] = {"prefill": prefill, "decode": decode}
    engines = [
        _role(f"{role}-{index}", role, place, kv[role])
        for role in _SIDES
        for index, place in enumerate(places[role])
    ]
    return Plan(
        case=CASE,
        pins=UNKNOWN,
        variant=UNKNOWN,
        runtime="process",
        model=model,
        model_source=root,
        parameters={},
        agreed_block_size=given.agreed_block_size,
        roles=[*engines, _role("router", "router", router_place, None)],
    )


def _layout(role: EngineRole, layout: str | None) -> KVLayout:
    name, fix = f"{role}_kv_layout", "NHD or HND, as the engine's VLLM_KV_CACHE_LAYOUT or its log says"
    if layout is None:
        raise BadInput(_WHERE, name, None, "missing, and engines do not tell it over HTTP", fix)
    if layout not in ("NHD", "HND"):
        raise BadInput(_WHERE, name, layout, "is not a KV layout", fix)
    return "NHD" if layout == "NHD" else "HND"


def _place(field: str, url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    fix = "give http://HOST:PORT, without a path"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadInput(_WHERE, field, url, "is not a URL", fix) from None
    if parts.username or parts.password:
        raise BadInput(_WHERE, field, "(not shown)", "holds a user or a password", fix)
    if parts.scheme != "http":
        raise BadInput(_WHERE, field, url, "does not begin with http://", fix)
    if not parts.hostname or parts.path.strip("/") or parts.query:
        raise BadInput(_WHERE, field, url, "is not the URL of an engine or router", fix)
    return parts.hostname, port or 80


def _block_size(client: EngineClient, role: EngineRole, urls: Sequence[str]) -> int:
    """The one block size, in tokens, that all engines of a role tell in vllm:cache_config_info."""
    told = set()
    for url in urls:
        endpoint = Endpoint(client, role, url.rstrip("/"), _LIMIT_S)
        try:
            size = cache_config(endpoint.metrics()).get("block_size", "")
        except AnswerProblem as problem:
            raise BadInput(_WHERE, role, url, str(problem), "is it up, and reached from here?") from None
        told.add(int(size) if size.isdigit() else None)
    sizes = sorted(size for size in told if size)
    if len(told) != 1 or not sizes:
        text = "differ: " + ", ".join(map(str, sizes)) if len(sizes) > 1 else "are not told by /metrics"
        fix = f"{role}_block_size=TOKENS, as its --block-size"
        raise BadInput(_WHERE, f"{role}_block_size", None, f"block sizes {text}", fix)
    return sizes[0]


def _model(engine: Endpoint, name: str | None) -> tuple[str, str]:
    """The model's name and what the engine loads for it. Raises BadInput where nobody says which."""
    try:
        listed = engine.models()
    except AnswerProblem as problem:
        fix = "is it up, and reached from here?"
        raise BadInput(_WHERE, "prefill", engine.url, str(problem), fix) from None
    base = [entry for entry in listed if not entry.get("parent")]
    names = [str(entry.get("id")) for entry in base]
    if name is None and len(names) != 1:
        raise BadInput(_WHERE, "model", None, "the prefill serves several", f"one of {', '.join(names)}")
    chosen = next((entry for entry in listed if name in (None, entry.get("id"))), None)
    if chosen is None:
        fix = f"one of {', '.join(names) or 'none'}"
        raise BadInput(_WHERE, "model", name, "is not served by the prefill", fix)
    return str(chosen.get("id")), str(chosen.get("root") or chosen.get("id"))


def _role(name: str, role: Role, place: tuple[str, int], kv: KVGeometry | None) -> RolePlan:
    address, port = place
    return RolePlan(
        name=name,
        role=role,
        platform="router" if role == "router" else UNKNOWN,
        runs_on="router" if role == "router" else UNKNOWN,
        host=HostPlan(name=address, address=address),
        env={},
        argv=[],
        ports=Ports(api=port),
        kv=kv,
    )
