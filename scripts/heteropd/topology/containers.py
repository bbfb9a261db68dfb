"""Roles as containers, each on the engine of its host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from heteropd.containers import docker_host, docker_options, lifecycle, transfer
from heteropd.containers.lifecycle import ContainerLaunch
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
from heteropd.plan.model import Plan, RolePlan
from heteropd.topology.context import Context
from heteropd.topology.recover import packed

_MODEL = "/model"
_HUB_CACHE = "/home/heteropd/.cache/huggingface"
_HUB_VOLUME = "heteropd-hub"
_Shelf = tuple[str, str | None, str | None]
_TOKEN = "/run/secrets/hf_token"  # noqa: S105 - a place, not a secret


def docker_hosts_of(plan: Plan) -> list[str]:
    """Addresses of the engines that the plan's hosts have, each once."""
    return list(dict.fromkeys(docker_host.of_host(role.host.ssh) for role in plan.roles))


class ContainerStarter:
    """Roles as containers. Their environment is the image's and the plan's; nothing of the caller's.

    Makes images and models present on every engine, side by side, when it is made.
    """

    def __init__(self, plan: Plan, context: Context, topology_id: str) -> None:
        self.engines = docker_hosts_of(plan)
        self._plan, self._context, self._id = plan, context, topology_id
        self._baked = self._images()
        self._supplies = self._mounts()
        self._launches = {role.name: self._launch(role) for role in plan.roles}

    def dropped(self) -> list[str]:
        return []

    def start(self, name: str) -> Mapping[str, Any]:
        role = next(one for one in self._plan.roles if one.name == name)
        return {"container": lifecycle.start(self._launches[name], docker_host.of_host(role.host.ssh))}

    def _launch(self, role: RolePlan) -> ContainerLaunch:
        planned = role.container
        assert planned is not None, "a plan for the docker runtime has containers"
        options = docker_options.create_options(planned.options)
        url = docker_host.of_host(role.host.ssh)
        baked = self._baked[url, planned.image]
        places = self._places(role)
        env = child_environment(role.env, baked, places, {}).variables
        added = {name: value for name, value in env.items() if baked.get(name) != value}
        engine_role = role.role != "router"
        mounts = self._supplies[_shelf(role)] if engine_role else []
        options["volumes"] = [*options.get("volumes", []), *mounts]
        user = self._user(role)
        if user and "privileged" not in options:
            options.setdefault("user", user)
        hub = engine_role and _from_hub(self._plan, role)
        token = self._context.environ.get("HF_TOKEN") if hub else None
        return ContainerLaunch(
            name=f"heteropd-{self._id}-{role.name}",
            image=planned.image,
            argv=child_argv(role.argv, places),
            env={
                **KEEPS_ENVIRONMENT,
                **added,
                **({"HF_HOME": _HUB_CACHE} if hub else {}),
                **({"HF_TOKEN_PATH": _TOKEN} if token else {}),
                "HETEROPD_HEALTH": role.peer_url + role.health_path,  # asked from inside
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

    def _places(self, role: RolePlan) -> dict[str, str]:
        known = self._context.images[role.runs_on]
        return {ENGINE_PYTHON: known.python, ENGINE_BIN: known.bin, MODEL_DIR: _MODEL}

    def _images(self) -> dict[tuple[str, str], dict[str, str]]:
        """Every engine's images, with the environment that each brings. Raises BadInput without one."""
        wanted = dict.fromkeys(
            (docker_host.of_host(role.host.ssh), _image(role)) for role in self._plan.roles
        )
        with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
            found = pool.map(lambda one: self._image(*one), wanted)
            return dict(zip(wanted, found, strict=True))

    def _image(self, url: str, name: str) -> dict[str, str]:
        found = transfer.image(name, url, docker_host.address(), self._say)
        if found is None:
            short = name.rpartition("/")[2].partition(":")[0]
            plan = self._plan
            fix = f"build it: make build images={short} pins={plan.pins} variant={plan.variant}"
            fix += "; the hosts file's own must be there, or be named by digest to be pulled"
            raise BadInput("plan", "image", name, f"is not on the engine at {url}", fix)
        return dict(one.partition("=")[::2] for one in found["Config"].get("Env") or [])

    def _mounts(self) -> dict[_Shelf, list[str]]:
        """What gives the engines of every host their model."""
        serving = {_shelf(role): role for role in self._plan.engines}
        with ThreadPoolExecutor(max_workers=max(len(serving), 1)) as pool:
            return dict(zip(serving, pool.map(self._supply, serving.values()), strict=True))

    def _supply(self, role: RolePlan) -> list[str]:
        """Mounts that give an engine on the role's host its model."""
        plan, url = self._plan, docker_host.of_host(role.host.ssh)
        here = role.host.ssh is None
        if MODEL_DIR in places_used(role.argv, role.env):
            folder = Path(model_dir(plan, self._context))
            source = _readable(folder) if here else transfer.model(folder, url, _image(role), self._say)
            return [f"{source}:{_MODEL}:ro"]
        if not _from_hub(plan, role):
            folder = Path(role.host.model or plan.model_source)
            return [f"{_readable(folder) if here else folder}:{folder}:ro"]
        if role.host.hub_cache or not here:
            return [f"{role.host.hub_cache or _HUB_VOLUME}:{_HUB_CACHE}"]
        cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
        cache.mkdir(parents=True, exist_ok=True)
        return [f"{cache}:{_HUB_CACHE}"]

    def _user(self, role: RolePlan) -> str | None:
        """The caller, who can read what is mounted; root, where a hub's cache of root's must be written."""
        caller = lifecycle.default_user() if role.host.ssh is None else None
        return caller or ("0:0" if _from_hub(self._plan, role) else None)

    def _say(self, text: str) -> None:
        self._context.console.print(text, soft_wrap=True, markup=False, highlight=False)


def model_dir(plan: Plan, context: Context) -> Path | str:
    """The folder that stands for ``${MODEL_DIR}``. Raises MissingPrerequisite."""
    if context.model_dir is None:
        raise MissingPrerequisite(f"the model {plan.model_source} is missing", "run `make setup`")
    return context.model_dir(plan.model_source)


def _from_hub(plan: Plan, role: RolePlan) -> bool:
    return role.host.model is None and not plan.model_source.startswith(("/", "package:"))


def _shelf(role: RolePlan) -> _Shelf:
    """Whose models a role's mounts are: its host's engine, and the folders where the host has its own."""
    return docker_host.of_host(role.host.ssh), role.host.model, role.host.hub_cache


def _image(role: RolePlan) -> str:
    assert role.container is not None, "a plan for the docker runtime has containers"
    return role.container.image


def _readable(folder: Path) -> Path:
    """The folder, if whoever the container runs as can read it."""
    if lifecycle.default_user() is None:
        closed = [file for file in [folder, *folder.iterdir()] if not file.stat().st_mode & 0o004]
        if closed:
            raise BadInput(
                "plan",
                "model",
                str(closed[0]),
                "cannot be read by the image's user",
                f"chmod -R o+rX {folder}",
            )
    return folder
