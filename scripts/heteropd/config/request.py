"""What the user may say, where it may be said, and which saying wins.

Command line > parameter file > hosts file > case file > defaults. Every value keeps its origin, so that a
refusal can name the place it came from.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from heteropd.config import model_facts, yamlfile
from heteropd.config.arguments import PlanArguments
from heteropd.config.env import Env, load_hosts, pick
from heteropd.config.hosts import Hosts
from heteropd.config.images import Published
from heteropd.config.model_facts import ModelFacts
from heteropd.config.parameters import FILE_NAMES, HUB_ID, PACKAGE, PORT_NAMES, Parameters, looks_like_a_path
from heteropd.config.problems import validate
from heteropd.config.types import Data
from heteropd.errors import BadInput, did_you_mean

COMMAND_LINE = "command line"
_LAST_PORT = 65535
_PAGE = "docs/parameters.md"

PRECEDENCE = ("defaults", "case", "hosts", "params", COMMAND_LINE)
"""Where a value may be said; later ones win."""


class PlanRequest(Data):
    """One resolved request: the case, every parameter's value and origin, and the hosts, if any."""

    case: str
    parameters: Parameters
    origins: dict[str, str] = Field(description="For each parameter the place, as messages name it")
    layers: dict[str, str] = Field(description="For each parameter the layer, one of PRECEDENCE")
    hosts: Hosts | None
    hosts_file: str | None
    images: Published | None = Field(
        default=None, description="Images by digest, instead of this engine's own"
    )
    images_file: str | None = None
    model_facts: ModelFacts | None = Field(
        default=None, description="What its config.json says, if it is here"
    )

    @property
    def standin(self) -> bool:
        """True when CPU stand-ins take every platform's place."""
        return _replaced(self.parameters.standin, self.hosts) == "all"

    def replaces(self, platform: str, host: str) -> bool:
        """True when a CPU stand-in takes the platform's place on the host."""
        if self.hosts is not None and self.hosts.hosts[host].standin:
            return True
        return _replaced(self.parameters.standin, self.hosts) in ("all", platform)


def resolve(requested: PlanArguments, env: Env, root: Path) -> PlanRequest:
    """Turn a case and what is given with it into a request.

    ``hosts``, ``params`` and ``images`` name files relative to ``root``. Raises BadInput for anything
    unknown, malformed or out of range, naming the place it stood in.
    """
    if requested.case is None:
        raise BadInput(COMMAND_LINE, "case", None, "missing", did_you_mean("", env.cases))
    case_name, given = requested.case, _typed(requested.given)
    case = pick("case", case_name, env.cases)
    hosts_file, params_file, images_file = (_path(given.pop(name, None), name, root) for name in FILE_NAMES)
    hosts = load_hosts(hosts_file, root) if hosts_file else None
    layers = [_Layer("case", f"env/cases/{case_name}.yaml", case.parameters())]
    if hosts is not None and hosts_file is not None:
        layers.append(_Layer("hosts", yamlfile.shown(hosts_file, root), hosts.parameters))
    if params_file is not None:
        where = yamlfile.shown(params_file, root)
        layers.append(_Layer("params", where, yamlfile.read(params_file, where)))
    layers.append(_Layer(COMMAND_LINE, COMMAND_LINE, given))
    word = next((layer.values["standin"] for layer in reversed(layers) if "standin" in layer.values), None)
    layers = [_Layer("defaults", "env/defaults.yaml", _defaults(env)), _choices(env, word, hosts), *layers]
    parameters, source = _shifted(*_merge(layers))
    if source["digest_sample"].name != "defaults" and source["digest"].name == "defaults":
        where, part = source["digest_sample"].where, parameters.digest_sample
        fix = "add digest=observe or digest=enforce, or leave it out"
        raise BadInput(where, "digest_sample", part, "changes nothing, as nothing is digested", fix)
    if parameters.revision and not HUB_ID.fullmatch(parameters.model):
        problem = f"is for a model of the hub, and the model is {parameters.model}"
        raise BadInput(source["revision"].where, "revision", parameters.revision, problem, "leave it out")
    parameters = _with_model_checked(parameters, source["model"].where, root, remote=_remote(hosts))
    images = {COMMAND_LINE: {"images": yamlfile.shown(images_file, root)}} if images_file else {}
    if hosts is not None and hosts_file is not None:
        images[yamlfile.shown(hosts_file, root)] = hosts.images()
    _require_containers(parameters, source["runtime"], images)
    _require_real_here(parameters, source, hosts, env)
    for name in ("prefills", "decodes"):
        many = getattr(parameters, name)
        if hosts is not None and many != 1:
            problem = "is for this machine alone; with hosts, the number follows from 'platforms'"
            fix = "name one host an engine there, such as {cuda: [cuda-1, cuda-2]}"
            raise BadInput(source[name].where, name, many, problem, fix)
    return PlanRequest(
        case=case_name,
        parameters=parameters,
        origins={name: layer.where for name, layer in source.items()},
        layers={name: layer.name for name, layer in source.items()},
        hosts=hosts,
        hosts_file=yamlfile.shown(hosts_file, root) if hosts_file else None,
        images=yamlfile.load(Published, images_file, root) if images_file else None,
        images_file=yamlfile.shown(images_file, root) if images_file else None,
        model_facts=model_facts.find(parameters.model, root),
    )


def _require_containers(
    parameters: Parameters, runtime: "_Layer", images: Mapping[str, Mapping[str, str]]
) -> None:
    """Raise BadInput where images are named, by place and field, and nothing would run them."""
    for where, fields in images.items() if parameters.runtime != "docker" else ():
        for field, image in fields.items():
            if runtime.name != "defaults":
                problem = f"{field} is for containers"
                raise BadInput(runtime.where, "runtime", parameters.runtime, problem, "use runtime=docker")
            problem = f"is for containers, and runtime is {parameters.runtime}"
            raise BadInput(where, field, image, problem, "add runtime=docker")


def _replaced(word: str | None, hosts: Hosts | None) -> str:
    """The platforms whose places stand-ins take everywhere."""
    if hosts is not None and hosts.none_is_real:
        return "all"
    return word or ("all" if hosts is None or hosts.standin else "none")


def _choices(env: Env, word: str | None, hosts: Hosts | None) -> "_Layer":
    """Defaults that follow from what is real."""
    replaced, beside = _replaced(word, hosts), env.standins.beside.defaults
    if replaced == "all":
        elsewhere: dict[str, Any] = {"runtime": "docker"} if hosts and hosts.need_containers else {}
        return _Layer("defaults", "env/standins.yaml", env.standins.defaults.model_dump() | elsewhere)
    if hosts is None:
        return _Layer("defaults", "env/standins.yaml", beside.model_dump())
    mixed = replaced != "none" or any(host.standin for host in hosts.hosts.values())
    values = env.defaults.hardware.model_dump() | ({"pins": beside.pins} if mixed else {})
    return _Layer("defaults", "env/defaults.yaml", values)


def _require_real_here(
    parameters: Parameters, source: "Mapping[str, _Layer]", hosts: Hosts | None, env: Env
) -> None:
    """Raise BadInput for a real engine on this machine that cannot be one."""
    word = parameters.standin
    able = [name for name, platform in env.platforms.items() if platform.process]
    if hosts is None and word is not None and word != "all" and (word == "none" or word in able):
        problem = (
            f"asks for a real engine that this machine cannot run: without hosts=, only {able[0]} can be real"
        )
        where = source["standin"].where
        raise BadInput(where, "standin", word, problem, "give hosts=FILE, or use standin=gaudi")
    if parameters.engine_python and (hosts is not None or word in (None, "all")):
        problem = "is for a real engine on this machine, and there is none"
        where = source["engine_python"].where
        raise BadInput(where, "engine_python", parameters.engine_python, problem, "add standin=gaudi")


@dataclass(frozen=True)
class _Layer:
    name: str
    where: str
    values: Mapping[str, Any]


def _typed(given: Mapping[str, str]) -> dict[str, Any]:
    """Parameters of a command line, with numbers as numbers. Raises BadInput for an unknown one."""
    known = [*Parameters.model_fields, *FILE_NAMES]
    for name, value in given.items():
        if name not in known:
            raise BadInput(COMMAND_LINE, name, value, "unknown parameter", did_you_mean(name, known, _PAGE))
    return {name: _number(name, value) for name, value in given.items()}


def _number(name: str, value: str) -> str | int | float:
    """A word's value; a number where the parameter is one."""
    field = Parameters.model_fields.get(name)
    kind = str(field.annotation) if field else ""
    if "int" in kind and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    return float(value) if "float" in kind and re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", value) else value


def _path(value: str | None, name: str, root: Path) -> Path | None:
    return None if value is None else yamlfile.located(value, name, root)


def _defaults(env: Env) -> dict[str, Any]:
    ports = env.defaults.ports
    return {
        "port": ports.port,
        "prefill_port": ports.prefill_port,
        "decode_port": ports.decode_port,
        "side_channel_port": ports.side_channel,
        "metrics_port": ports.router_metrics,
        "router": env.defaults.router,
        "security": env.defaults.security,
        "variant": "auto",
        "prefills": 1,
        "decodes": 1,
        "port_offset": 0,
        "served_model_name": None,
        "revision": None,
        "ready_timeout": None,
        "digest": "off",
        "digest_sample": 1.0,
        "standin": None,
        "engine_python": None,
    }


def _merge(layers: list[_Layer]) -> tuple[Parameters, dict[str, _Layer]]:
    """Later layers win. Each layer is checked by itself, so that a wrong value names its own place."""
    values: dict[str, Any] = {}
    source: dict[str, _Layer] = {}
    checked: Parameters | None = None
    for layer in layers:
        for name, value in layer.values.items():
            if name not in Parameters.model_fields:
                fix = did_you_mean(name, Parameters.model_fields, _PAGE)
                raise BadInput(layer.where, name, value, "unknown parameter", fix)
        values |= layer.values
        source |= dict.fromkeys(layer.values, layer)
        if len(values) == len(Parameters.model_fields):
            checked = validate(Parameters, values, layer.where)
    assert checked is not None, "the defaults and the case give every parameter a value"
    return checked, source


def _shifted(parameters: Parameters, source: dict[str, _Layer]) -> tuple[Parameters, dict[str, _Layer]]:
    """Default ports moved by the offset; ports that somebody has said stay."""
    offset, said = parameters.port_offset, source["port_offset"]
    ports = {
        name: getattr(parameters, name) + offset
        for name in PORT_NAMES
        if offset and source[name].name == "defaults"
    }
    for name, port in ports.items():
        if port > _LAST_PORT:
            problem, fix = f"makes {name} {port}", f"{_LAST_PORT} is the last port: take a smaller one"
            raise BadInput(said.where, "port_offset", offset, problem, fix)
    return parameters.model_copy(update=ports), source | dict.fromkeys(ports, said)


def _with_model_checked(parameters: Parameters, where: str, root: Path, *, remote: bool) -> Parameters:
    """The parameters with a model folder made absolute. A folder on another host is only checked for form."""
    model = parameters.model
    if PACKAGE.fullmatch(model):
        return parameters
    if remote:
        if looks_like_a_path(model) and not model.startswith("/"):
            problem = "a folder on another host must be absolute"
            raise BadInput(where, "model", model, problem, "start it with /")
        return parameters
    folder = _folder(root, model)
    if folder is None:
        if not looks_like_a_path(model):
            return parameters
        fix = "give a folder with config.json, or a hub id"
        raise BadInput(where, "model", model, "no such folder", fix)
    if not (folder / "config.json").is_file():
        fix = "give the folder that holds config.json and the weights"
        raise BadInput(where, "model", model, "the folder has no config.json", fix)
    return parameters.model_copy(update={"model": str(folder)})


def _folder(root: Path, name: str) -> Path | None:
    """The folder's absolute path; None where there is none, or its name cannot be one."""
    try:
        folder = (root / Path(name).expanduser()).resolve()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):  # a name too long, a loop of links, no home folder
        return None


def _remote(hosts: Hosts | None) -> bool:
    return hosts is not None and any(host.ssh for host in hosts.hosts.values())
