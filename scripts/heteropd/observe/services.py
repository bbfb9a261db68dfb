"""Services beside a topology, as programs of this machine or containers: started, found by a tag or a label
whatever was recorded of them, and ended."""

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from docker import DockerClient
from docker.errors import ImageNotFound
from pydantic import RootModel, ValidationError

from heteropd.config.observe import Service
from heteropd.containers import docker_host, lifecycle, stopping
from heteropd.containers.lifecycle import ContainerLaunch, ContainerRef
from heteropd.engine_api.client import EngineClient
from heteropd.errors import BadInput, KitError, MissingPrerequisite, TopologyFailed
from heteropd.observe import files
from heteropd.plan.model import Plan
from heteropd.processes import terminate
from heteropd.processes.identity import identify
from heteropd.processes.process_tree import ROLE, tag, tagged
from heteropd.system import write_whole
from heteropd.topology import Context, InterruptScope, RoleState
from heteropd.topology.checks import free, holder

TAG = "HETEROPD_OBSERVE"
LABEL, OWNER, NAME = "io.heteropd.observe", lifecycle.OWNER, "io.heteropd.service"
_PROMETHEUS = "prometheus"
_READY_S = 60.0
_LAST_PORT = 65535


class ServiceState(RoleState):
    """A service that was started, and where people find it."""

    url: str


class _Record(RootModel[dict[str, ServiceState]]):
    """What was started, by name."""


def start(
    plan: Plan, wanted: Mapping[str, Service], ports: Mapping[str, int], context: Context
) -> dict[str, str]:
    """Start every wanted service that can be had here, anew where it runs; their URLs by name.

    Raises BadInput for a port in use, KitError where Prometheus cannot be had or does not come up, and
    Interrupted: nothing is left then. Any other service is left out in such a case, and that is said.
    """
    for name, port in ports.items():
        if port > _LAST_PORT:
            fix = f"choose one up to {_LAST_PORT}"
            raise BadInput("command line", _option(name), port, "is not a port", fix)
    if len(set(ports.values())) < len(ports):
        name, port = list(ports.items())[-1]
        raise BadInput("command line", _option(name), port, "is another service's too", "give each its own")
    with InterruptScope(context):  # ctrl-C twice must not stop the ending half-way
        stop(context)
        started: dict[str, ServiceState] = {}
        try:
            files.write(_folder(context), plan, context.root)
            for name, service in wanted.items():
                try:
                    started[name] = _start(name, service, ports, context)
                except KitError as problem:
                    if name == _PROMETHEUS:
                        raise
                    stop(context, name)
                    context.say(f"without {name}: {problem}", "yellow")
                write_whole(_folder(context) / "services.json", _Record(started).model_dump_json())
        except BaseException:
            end(context, grace_s=0)
            raise
    return {name: state.url for name, state in started.items()}


def running(context: Context) -> dict[str, str]:
    """The URLs of services that run, by name."""
    return {name: state.url for name, state in _recorded(context).items() if state.alive}


def end(context: Context, *, grace_s: float | None = None) -> list[str]:
    """End every service and remove what it kept; the names of those that ran. Safe to repeat."""
    names = list(running(context))
    count = stop(context, grace_s=grace_s)
    shutil.rmtree(_folder(context), ignore_errors=True)
    return names or ["what observed"] * bool(count)


def stop(context: Context, name: str | None = None, grace_s: float | None = None) -> int:
    """End the processes and containers of a service, or of all; how many there were."""
    grace = context.timeouts.stop if grace_s is None else grace_s
    found = terminate.end(
        lambda: tagged(context.state_dir, role=name, variable=TAG), context.clock, grace
    ).found
    refs = _containers(context, name)
    for ref in refs:
        stopping.remove(ref)
    return len(found) + len(refs)


def _option(name: str) -> str:
    return "port" if name == _PROMETHEUS else f"{name}_port"


def _start(name: str, service: Service, ports: Mapping[str, int], context: Context) -> ServiceState:
    """Start one service and wait until it serves. Raises KitError."""
    port, folder, log = ports[name], _folder(context), context.log(name)
    field = _option(name)
    if not free(port):
        problem = f"is in use by {holder(port)}"
        raise BadInput("command line", field, port, problem, f"choose another with {field}=")
    places = {"folder": folder, "port": port, _PROMETHEUS: _url(ports[_PROMETHEUS])}
    argv = [word.format(**places) for word in service.argv]
    env = {key: text.format(**places) for key, text in service.env.items()}
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = ServiceState(name=name, log=log, url=_url(port), started=context.clock.wall())
    if program := shutil.which(argv[0]):
        ours = {**tag(name, context.state_dir, TAG), ROLE: name, "PATH": os.defpath, "HOME": str(folder)}
        log.unlink(missing_ok=True)
        pid = context.runner.spawn([program, *argv[1:]], env={**env, **ours}, log=log, cwd=folder)
        state = begun.model_copy(update={"process": identify(pid)})
    else:
        container = _container(name, service, argv, env, context)
        state = begun.model_copy(update={"container": container})
    _wait(state, service.ready, context)
    return state


def _container(
    name: str, service: Service, argv: list[str], env: Mapping[str, str], context: Context
) -> ContainerRef:
    """The service from its image. Raises MissingPrerequisite where it cannot be had."""
    url, folder = docker_host.address(), str(_folder(context))
    try:
        with docker_host.reported(name):
            _pull(service.image, lifecycle.client(url), context)
    except KitError as problem:
        why = str(problem).partition(";")[0]
        install = f"`apt-get install {service.package}`" if service.package else f"install {argv[0]}"
        text = f"{argv[0]} is not installed, and its image cannot be had ({why})"
        raise MissingPrerequisite(text, f"{install}, or start Docker") from None
    launch = ContainerLaunch(
        name=f"heteropd-{name}-{context.clock.wall():%H%M%S}",
        image=service.image,
        argv=argv,
        env={**env, "HOME": folder},
        labels={**_labels(context), NAME: name},
        options={
            "network_mode": "host",
            "user": f"{os.getuid()}:{os.getgid()}",
            "volumes": {folder: {"bind": folder, "mode": "rw"}},
            "working_dir": folder,
        },
        log=context.log(name),
    )
    return lifecycle.start(launch, url)


def _pull(image: str, client: DockerClient, context: Context) -> None:
    try:
        client.images.get(image)
    except ImageNotFound:
        context.say(f"pulling {image} …")
        client.images.pull(image)


def _wait(state: ServiceState, path: str, context: Context) -> None:
    deadline = context.clock.now() + _READY_S
    with EngineClient(context.clock) as client:
        while not client.request("GET", state.url + path, limit_s=context.timeouts.health).ok:
            if not state.alive or context.clock.now() > deadline:
                state.refresh_log()
                tail = state.log.read_text(errors="replace").splitlines()[-5:] if state.log.exists() else []
                where = context.shown(state.log)
                raise TopologyFailed(f"{state.name} does not serve; its log is {where}", tail)
            context.clock.sleep(context.timeouts.poll)


def _containers(context: Context, name: str | None) -> list[ContainerRef]:
    """Containers of services, running or not; none where no Docker answers."""
    if not docker_host.present():
        return []
    wanted = [
        f"{key}={value}" for key, value in {**_labels(context), **({NAME: name} if name else {})}.items()
    ]
    url = docker_host.address()
    try:
        rows = lifecycle.listed(lifecycle.client(url), wanted)
    except KitError:
        return []
    return [ContainerRef(id=row["Id"], name=row["Names"][0].lstrip("/"), docker_host=url) for row in rows]


def _recorded(context: Context) -> dict[str, ServiceState]:
    try:
        return _Record.model_validate_json((_folder(context) / "services.json").read_text()).root
    except (OSError, ValidationError):
        return {}


def _labels(context: Context) -> dict[str, str]:
    return {LABEL: str(context.state_dir), OWNER: platform.node()}


def _folder(context: Context) -> Path:
    return context.state_dir / "observe"


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
