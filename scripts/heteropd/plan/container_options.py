"""Container arguments, where the docker runtime will run the plan."""

from heteropd.config.container_options import ContainerOptions
from heteropd.config.env import Env
from heteropd.config.request import PlanRequest
from heteropd.errors import BadInput
from heteropd.plan.model import ContainerPlan
from heteropd.plan.placement import EnginePlacement
from heteropd.plan.template import fill


def engine_container(
    platform: str, variant: str, place: EnginePlacement, request: PlanRequest, env: Env
) -> ContainerPlan | None:
    """Arguments as ``docker run`` takes them; None for the process runtime. What hands all devices over by
    the variable that names an engine's own names those of ``place``. On
    hosts with real engines a stand-in needs what those need of the fabric."""
    if request.parameters.runtime != "docker":
        return None
    security = request.parameters.security
    facts = env.platforms[platform]
    options = facts.container.args
    if options is None or (request.hosts is not None and not request.standin):
        options = env.defaults.containers.args[security]
        if security == "least":
            options = options.merged(facts.container.least_args)
    options = options.merged(place.container)
    devices = facts.container.device_args
    if place.visible and facts.visible_devices in devices.env:
        devices = devices.merged(ContainerOptions(env={facts.visible_devices: place.visible}))
    return ContainerPlan(
        image=place.image or _image(platform, variant, request, env),
        args=options.words(),
        device_args=devices.words(),
    )


def router_container(variant: str, request: PlanRequest, env: Env) -> ContainerPlan | None:
    """The router needs the host's network and no privileges."""
    if request.parameters.runtime != "docker":
        return None
    return ContainerPlan(
        image=_image("router", variant, request, env), args=ContainerOptions(network="host").words()
    )


def _image(platform: str, variant: str, request: PlanRequest, env: Env) -> str:
    if request.images is not None:
        return _published(platform, variant, request)
    # A stand-in beside real engines is of the stand-ins' own pins.
    pins = env.standins.defaults.pins if platform == "cpu" else request.parameters.pins
    if variant not in env.pins[pins].variants:
        variant = next(iter(env.pins[pins].variants))
    fields = {"platform": platform, "pins": pins, "variant": variant}
    return fill(env.defaults.containers.image, fields, "env/defaults.yaml")


def _published(platform: str, variant: str, request: PlanRequest) -> str:
    """The image by digest. Raises BadInput for a file that is for other pins, or lacks the image."""
    given, where = request.images, request.images_file or "images"
    assert given is not None, "asked for only then"
    publish = f"make publish images={platform} registry=HOST/NAME"
    for field, wanted in {"pins": request.parameters.pins, "variant": variant}.items():
        value = getattr(given, field)
        if value != wanted:
            raise BadInput(where, field, value, f"the plan is for {wanted!r}", f"publish that: {publish}")
    if platform not in given.images:
        problem = f"has no image for {platform!r}"
        raise BadInput(where, "images", ", ".join(given.images), problem, publish)
    return given.images[platform].ref
