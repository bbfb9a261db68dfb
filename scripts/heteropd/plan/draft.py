"""Renders a request into a plan that no rule has looked at yet."""

from collections.abc import Mapping
from dataclasses import dataclass

from heteropd.config.cases import Case, EngineCase
from heteropd.config.env import Env, pick
from heteropd.config.machine import Machine
from heteropd.config.pins import Pins
from heteropd.config.request import PlanRequest
from heteropd.config.types import EngineRole, PlatformName
from heteropd.errors import BadInput
from heteropd.plan import geometry
from heteropd.plan.engines import EngineSpec, render_engine
from heteropd.plan.model import KVGeometry, Note, Plan, RolePlan
from heteropd.plan.placement import EnginePlacement, places, router_place, share
from heteropd.plan.router import render_router


def draft(request: PlanRequest, env: Env, machine: Machine) -> Plan:
    """The plan as rendered. Pure. Raises BadInput for names that lead nowhere."""
    case = env.cases[request.case]
    parameters = request.parameters
    pins = pick("pins", parameters.pins, env.pins, request.origins["pins"])
    engines: dict[EngineRole, EngineCase] = {"prefill": case.prefill, "decode": case.decode}
    platforms = {role: engine.platform for role, engine in engines.items()}
    placed = places(platforms, request, env.vllm_options)
    seats = [
        (role, place, _runs_on(platforms[role], place.host.name, request, env, pins))
        for role, placements in placed.items()
        for place in placements
    ]
    if not {runs_on for _, _, runs_on in seats} <= env.kv_digest(pins):  # rule P70 says so
        parameters = parameters.model_copy(update={"digest": "off", "digest_sample": 1.0})
        request = request.model_copy(update={"parameters": parameters})
    agreed = (
        geometry.agreed_block_size(parameters.prefill_block_size, parameters.decode_block_size)
        if case.prefill.convert_on_save
        else None
    )
    kv = _geometries(request, env, case.decode, agreed)
    variant = parameters.variant
    if variant == "auto":
        variant = geometry.choose_variant(pins, geometry.needs(kv["prefill"], kv["decode"]))
    pick("variant", variant, pins.variants, request.origins["variant"])
    model = _model(request, env)
    beside = _beside(platforms, placed, request)
    cores = _divide(machine.cores, len(seats))
    rendered = [
        render_engine(
            EngineSpec(
                role=role,
                case=engines[role],
                prefix_caching=_prefix_caching(
                    role, case, kv, standin=request.replaces(platforms[role], place.host.name)
                ),
                runs_on=runs_on,
                beside=beside,
                place=place,
                kv=kv[role],
                agreed=agreed,
                variant=variant,
                model=place.host.model or model.source,
                served_name=model.name,
                cores=own if runs_on == "cpu" else [],
            ),
            request,
            env,
            pins,
        )
        for (role, place, runs_on), own in zip(seats, cores, strict=True)
    ]
    router = render_router(rendered, router_place(request), variant, request, env)
    return Plan(
        case=request.case,
        pins=parameters.pins,
        variant=variant,
        runtime=parameters.runtime,
        model=model.name,
        model_source=parameters.model,
        parameters=parameters.model_dump(include=set(type(parameters).model_fields) - {"variant"})
        | {"variant": variant},
        agreed_block_size=agreed,
        roles=[*rendered, router],
        notes=_notes(rendered, pins, machine, env),
    )


@dataclass(frozen=True)
class _Model:
    name: str
    source: str


def _model(request: PlanRequest, env: Env) -> _Model:
    """The name that requests carry, and what the engine's command says to load."""
    parameters, name = request.parameters.model, request.parameters.served_model_name
    if not parameters.startswith("package:"):
        return _Model(name or parameters, parameters)
    where, package = request.origins["model"], env.standin.model
    if request.hosts is not None and not request.standin:
        problem = "model packages are for stand-ins"
        raise BadInput(where, "model", parameters, problem, "give a hub id or a folder on the hosts")
    if parameters != f"package:{package.package}":
        problem = "is not the pinned model package"
        raise BadInput(where, "model", parameters, problem, f"use package:{package.package}")
    return _Model(name or package.served_name, "${MODEL_DIR}")


def _beside(
    platforms: Mapping[EngineRole, PlatformName],
    placed: Mapping[EngineRole, list[EnginePlacement]],
    request: PlanRequest,
) -> PlatformName | None:
    """The real platform of a plan that has stand-ins too; None where all are one or the other."""
    kinds = {
        (request.replaces(platforms[role], place.host.name), platforms[role])
        for role, placements in placed.items()
        for place in placements
    }
    real = [platform for standin, platform in sorted(kinds) if not standin]
    return real[0] if real and any(standin for standin, _ in kinds) else None


def _runs_on(platform: PlatformName, host: str, request: PlanRequest, env: Env, pins: Pins) -> PlatformName:
    chosen: PlatformName = platform
    standin = request.replaces(platform, host)
    if standin:
        if platform not in env.standins.platforms:
            known = ", ".join(env.standins.platforms)
            raise BadInput(
                "env/standins.yaml", "platforms", platform, "has no stand-in", f"add one; there are: {known}"
            )
        chosen = env.standins.platforms[platform].platform
    if chosen not in env.platforms:
        raise BadInput("env/platforms", None, None, f"has no file for {chosen!r}", f"add {chosen}.yaml")
    mixed = standin and not request.standin  # its own pins are the stand-ins'; rule P71 compares releases
    if chosen not in pins.platforms and not mixed:
        fitting = [name for name, pin_set in env.pins.items() if chosen in pin_set.platforms]
        fix = f"use pins={fitting[0]}" if fitting else "add a pin set"
        if request.hosts is None:
            fix += ", or give hosts=FILE for real hardware"
        problem = f"has no pins for {chosen!r}, on which {platform} runs here"
        raise BadInput(request.origins["pins"], "pins", request.parameters.pins, problem, fix)
    return chosen


def _geometries(
    request: PlanRequest, env: Env, decode: EngineCase, agreed: int | None
) -> dict[str, KVGeometry]:
    parameters = request.parameters
    prefill = geometry.prefill_geometry(
        parameters.prefill_kv_layout, parameters.prefill_block_size, convert_to=agreed
    )
    permute = env.platforms[decode.platform].kv_transfer.enable_permute_local_kv is not None
    return {
        "prefill": prefill,
        "decode": geometry.decode_geometry(
            parameters.decode_kv_layout, parameters.decode_block_size, prefill, may_permute=permute
        ),
    }


def _prefix_caching(role: EngineRole, case: Case, kv: dict[str, KVGeometry], *, standin: bool) -> bool:
    """As the case says. On hardware a decode keeps it on, as documented, and rule P48 warns."""
    if role == "decode" and standin and geometry.reuse_is_wrong(kv["prefill"], kv["decode"]):
        return False
    engine: EngineCase = getattr(case, role)
    return engine.prefix_caching


def _divide(cores: list[int], engines: int) -> list[list[int]]:
    """An equal part of the cores for each engine; where they are fewer, engines share one each in turn."""
    if len(cores) < engines:
        return [[cores[nth % len(cores)]] for nth in range(engines)]
    return [share(cores, nth, engines) for nth in range(engines)]


def _notes(engines: list[RolePlan], pins: Pins, machine: Machine, env: Env) -> list[Note]:
    notes = [Note(rule=None, text=text) for text in pins.caveats]
    if any(engine.standin for engine in engines):
        real = ", ".join(f"{engine.name} on {engine.runs_on}" for engine in engines if not engine.standin)
        text = "CPU stand-ins take the accelerators' places: this shows the software path, not the hardware."
        if real:
            names = ", ".join(f"{engine.name} for {engine.platform}" for engine in engines if engine.standin)
            text = f"Real: {real}. CPU stand-ins: {names}, whose hardware this does not show."
            notes.insert(0, Note(rule=None, text=env.standins.beside.advice))
        notes.insert(0, Note(rule=None, text=text))
        if len(machine.cores) < len(engines):
            cores = "one core" if len(machine.cores) == 1 else f"{len(machine.cores)} cores"
            text = f"{len(engines)} engines share this machine's {cores}; expect it to be slow."
            notes.append(Note(rule=None, text=text))
    return notes
