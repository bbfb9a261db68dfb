"""Roles as containers, each on the Docker of its host."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heteropd.config.model_facts import hub_entry
from heteropd.containers import docker_host, docker_options, lifecycle, transfer
from heteropd.containers.lifecycle import ContainerLaunch
from heteropd.containers.transfer import Say
from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.plan.environment import (
    ENGINE_BIN,
    ENGINE_PYTHON,
    KEEPS_ENVIRONMENT,
    MODEL_DIR,
    child_argv,
    child_environment,
    places_used,
)
from heteropd.plan.model import ContainerPlan, Plan, RolePlan
from heteropd.system import parallel_map
from heteropd.topology.context import Context
from heteropd.topology.recover import packed

MOUNTED_AT = "/model"
HUB_CACHE = "/home/heteropd/.cache/huggingface"
_HUB_VOLUME = "heteropd-hub"
_TOKEN = "/run/secrets/hf_token"  # noqa: S105 - a place, not a secret


class ContainerStarter:
    """Roles as containers. Their environment is the image's and the plan's; nothing of the caller's.

    Makes images and models present on every Docker host, side by side, when it is made.
    """

    def __init__(self, plan: Plan, context: Context, topology_id: str) -> None:
        self._plan, self._context, self._id = plan, context, topology_id
        wanted = dict.fromkeys((docker_host.of_host(role.host), _planned(role).image) for role in plan.roles)
        self._baked = dict(parallel_map(lambda key: (key, self._environment(*key)), wanted))
        serving = {_model_key(role): role for role in plan.engines}
        found = parallel_map(lambda role: mounts(plan, role, context, context.say), serving.values())
        self._mounts = dict(zip(serving, found, strict=True))
        self._launches = {role.name: self._launch(role) for role in plan.roles}
        self._hosts = {role.name: docker_host.of_host(role.host) for role in plan.roles}

    def dropped(self) -> list[str]:
        return []

    def start(self, name: str) -> Mapping[str, Any]:
        return {"container": lifecycle.start(self._launches[name], self._hosts[name])}

    def _launch(self, role: RolePlan) -> ContainerLaunch:
        planned = _planned(role)
        options = docker_options.create_options(planned.options)
        image = self._context.images[role.runs_on]
        places = {ENGINE_PYTHON: image.python, ENGINE_BIN: image.bin, MODEL_DIR: MOUNTED_AT}
        baked = self._baked[docker_host.of_host(role.host), planned.image]
        env = child_environment(role.env, baked, places, {}).variables
        added = {name: value for name, value in env.items() if baked.get(name) != value}
        is_engine = role.role != "router"
        mounted = self._mounts[_model_key(role)] if is_engine else []
        options["volumes"] = [*options.get("volumes", []), *mounted]
        user = self._user(role)
        if user and "privileged" not in options:
            options.setdefault("user", user)
        hub = is_engine and from_hub(self._plan, role)
        token = self._context.environ.get("HF_TOKEN") if hub else None
        return ContainerLaunch(
            name=f"heteropd-{self._id}-{role.name}",
            image=planned.image,
            argv=child_argv(role.argv, places),
            env={
                **KEEPS_ENVIRONMENT,
                **added,
                **({"HF_HOME": HUB_CACHE} if hub else {}),
                **({"HF_TOKEN_PATH": _TOKEN} if token else {}),
                "HETEROPD_HEALTH": role.peer_url + role.health_path,  # from inside
            },
            labels={
                **lifecycle.labels(self._context.state_dir, self._id, role.name, self._plan.fingerprint()),
                lifecycle.PLAN: packed(self._plan),
            },
            options=options,
            log=self._context.log(role.name),
            # As a file: an environment variable shows in `docker inspect`.
            secrets={_TOKEN: token} if token else {},
        )

    def _environment(self, url: str, name: str) -> dict[str, str]:
        """The environment that an image brings, which is made present. Raises BadInput without one."""
        attributes = transfer.image(name, url, docker_host.address(), self._context.say)
        if attributes is None:
            short = name.rpartition("/")[2].partition(":")[0]
            plan = self._plan
            fix = f"build it: make build images={short} pins={plan.pins} variant={plan.variant}"
            fix += "; the hosts file's own must be there, or be named by digest to be pulled"
            raise BadInput("plan", "image", name, f"is not on the Docker host {url}", fix)
        return dict(pair.partition("=")[::2] for pair in attributes["Config"].get("Env") or [])

    def _user(self, role: RolePlan) -> str | None:
        """The caller, who can read what is mounted; root, where a hub's cache of root's must be written."""
        caller = lifecycle.default_user() if role.host.ssh is None else None
        return caller or ("0:0" if from_hub(self._plan, role) else None)


def _model_key(role: RolePlan) -> tuple[str, str | None, str | None]:
    """Whose models a role's mounts are: its Docker host's, and the folders where the host has its own."""
    return docker_host.of_host(role.host), role.host.model, role.host.hub_cache


def _planned(role: RolePlan) -> ContainerPlan:
    assert role.container is not None, "a plan for the docker runtime has containers"
    return role.container


def model_dir(plan: Plan, context: Context) -> Path | str:
    """The folder that stands for ``${MODEL_DIR}``. Raises MissingPrerequisite."""
    if context.model_dir is None:
        raise MissingPrerequisite(f"the model {plan.model_source} is missing", "run `make prepare`")
    return context.model_dir(plan.model_source)


def from_hub(plan: Plan, role: RolePlan) -> bool:
    """True where the role's engine fetches its model from the hub."""
    return role.host.model is None and not plan.model_source.startswith(("/", "package:"))


def mounts(plan: Plan, role: RolePlan, context: Context, say: Say) -> list[str]:
    """Mounts (``SOURCE:TARGET[:ro]``) that give an engine on the role's host its model.

    Raises BadInput for a folder of this machine that a container could not read, KitError when a model
    cannot be copied to the host.
    """
    here = role.host.ssh is None
    if MODEL_DIR in places_used(role.argv, role.env):
        folder = Path(model_dir(plan, context))
        if here:
            _require_readable(folder)
            return [f"{folder}:{MOUNTED_AT}:ro"]
        volume = transfer.model(folder, docker_host.of_host(role.host), _planned(role).image, say)
        return [f"{volume}:{MOUNTED_AT}:ro"]
    if not from_hub(plan, role):
        folder = Path(role.host.model or plan.model_source)
        if here:
            _require_links_inside(folder)
            _require_readable(folder)
        return [f"{mounted_root(folder)}:{mounted_root(folder)}:ro"]
    if role.host.hub_cache or not here:
        return [f"{role.host.hub_cache or _HUB_VOLUME}:{HUB_CACHE}"]
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache.mkdir(parents=True, exist_ok=True)
    return [f"{cache}:{HUB_CACHE}"]


def mounted_root(folder: Path) -> Path:
    """What must be mounted for the folder to be whole. By its path alone: it may be on another host."""
    return Path(hub_entry(str(folder)))


def _require_links_inside(folder: Path) -> None:
    """Raise BadInput for a link to what is not mounted with the folder, or to nothing."""
    root = mounted_root(folder)
    for link in sorted(path for path in folder.rglob("*") if path.is_symlink()):
        path = link
        while path.is_symlink():
            path = Path(os.path.normpath(path.parent / path.readlink()))
            if not path.is_relative_to(root) or not os.path.lexists(path):
                problem = f"links to {path}, which a container of this folder does not see"
                copy = f"copy it: cp -rL {folder} ELSEWHERE"
                fix = f"name {folder.resolve()}" if folder.is_symlink() else copy
                raise BadInput("plan", "model", str(link), problem, fix)


def _require_readable(folder: Path) -> None:
    """Raise BadInput where whoever the container runs as cannot read the folder."""
    if lifecycle.default_user() is not None or not folder.is_dir():
        return
    for file in [folder, *sorted(folder.iterdir())]:
        if file.exists() and not file.stat().st_mode & 0o004:
            problem = "cannot be read by the image's user"
            raise BadInput("plan", "model", str(file), problem, f"chmod -R o+rX {folder}")
