"""How a plan's roles are started: as processes of this machine, or as containers of its engine.

A starter renders everything when it is made, so that what cannot work is refused before anything starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.images import engine
from heteropd.plan.model import Plan, RolePlan
from heteropd.runtime import container, container_args, process
from heteropd.runtime.container import ContainerLaunch
from heteropd.runtime.environment import (
    ENGINE_BIN,
    ENGINE_PYTHON,
    MODEL_DIR,
    child_argv,
    child_environment,
    places_used,
)
from heteropd.runtime.family import mark
from heteropd.runtime.process import Launch, Surroundings
from heteropd.topology.context import Context

_MODEL = "/model"
_HUB_CACHE = "/home/heteropd/.cache/huggingface"
_TOKEN = "/run/secrets/hf_token"  # noqa: S105 - a place, not a secret


class Starter(Protocol):
    """Starts roles by name."""

    @property
    def engine(self) -> str | None:
        """Address of the container engine, where there is one."""
        ...

    def dropped(self) -> list[str]:
        """Names of variables of the caller that roles do not get."""
        ...

    def start(self, name: str) -> Mapping[str, Any]:
        """Start the role; returns what its `RoleState` is to be updated with."""
        ...


def starter(plan: Plan, context: Context, topology_id: str) -> Starter:
    """The starter for the plan's runtime. Raises BadInput and MissingPrerequisite; starts nothing."""
    if plan.runtime == "docker":
        return ContainerStarter(plan, context, topology_id)
    return ProcessStarter(plan, context, topology_id)


class ProcessStarter:
    """Roles as processes, each in a session of its own."""

    engine: str | None = None

    def __init__(self, plan: Plan, context: Context, topology_id: str) -> None:
        self._context = context
        around = Surroundings(
            self._places(plan),
            context.environ,
            mark(topology_id, context.state_dir),
            [role.host.address for role in plan.roles],
        )
        self._launches: dict[str, Launch] = {
            role.name: process.prepare(role, around, context.log(role.name), context.tmp_root / role.name)
            for role in plan.roles
        }

    def dropped(self) -> list[str]:
        return sorted({name for launch in self._launches.values() for name in launch.env.dropped})

    def start(self, name: str) -> Mapping[str, Any]:
        started = process.start(self._launches[name], self._context.runner, self._context.root)
        return {"process": started}

    def _places(self, plan: Plan) -> Mapping[str, str]:
        """Only what the plan mentions: finding a model may take a while, and a plan may need no engine."""
        context = self._context
        used = set().union(*(places_used(role.argv, role.env) for role in plan.roles))
        places: dict[str, str] = {}
        if used & {ENGINE_PYTHON, ENGINE_BIN}:
            if context.engine_python is None or not context.engine_python.exists():
                raise MissingPrerequisite(
                    f"the engines' Python ({context.engine_python}) is missing", "run `make setup`"
                )
            places[ENGINE_PYTHON] = str(context.engine_python)
            places[ENGINE_BIN] = str(context.engine_python.parent)
        if MODEL_DIR in used:
            places[MODEL_DIR] = str(_model_dir(plan, context))
        return places


class ContainerStarter:
    """Roles as containers. Their environment is the image's and the plan's; nothing of the caller's."""

    def __init__(self, plan: Plan, context: Context, topology_id: str) -> None:
        self.engine: str | None = engine.address()
        self._plan, self._context, self._id = plan, context, topology_id
        self._images = {name: self._image(name) for name in {self._image_name(role) for role in plan.roles}}
        self._mounts, self._env = self._model()
        self._launches = {role.name: self._launch(role) for role in plan.roles}

    def dropped(self) -> list[str]:
        return []

    def start(self, name: str) -> Mapping[str, Any]:
        assert self.engine is not None, "set when it was made"
        self._write_token()
        return {"container": container.start(self._launches[name], self.engine)}

    def _launch(self, role: RolePlan) -> ContainerLaunch:
        planned = role.container
        assert planned is not None, "a plan for the docker runtime has containers"
        where = f"env/platforms/{role.runs_on}.yaml"
        options = container_args.parse([*planned.args, *planned.device_args], where)
        baked = dict(one.partition("=")[::2] for one in self._images[planned.image])
        places = self._places(role)
        env = child_environment(role.env, baked, places, {}).variables
        added = {name: value for name, value in env.items() if baked.get(name) != value}
        options["volumes"] = [*options.get("volumes", []), *(self._mounts if role.role != "router" else [])]
        user = self._user()
        if user and "privileged" not in options:
            options.setdefault("user", user)
        return ContainerLaunch(
            name=f"heteropd-{self._id}-{role.name}",
            image=planned.image,
            argv=child_argv(role.argv, places),
            env={
                **added,
                **(self._env if role.role != "router" else {}),
                "HETEROPD_HEALTH": role.url + role.health_path,
            },
            labels=container.labels(self._context.state_dir, self._id, role.name, self._plan.fingerprint()),
            options=options,
            log=self._context.log(role.name),
        )

    def _places(self, role: RolePlan) -> dict[str, str]:
        known = self._context.images[role.runs_on]
        return {ENGINE_PYTHON: known.python, ENGINE_BIN: known.bin, MODEL_DIR: _MODEL}

    def _model(self) -> tuple[list[str], dict[str, str]]:
        """Mounts and environment that give engines their model."""
        plan = self._plan
        used = set().union(*(places_used(role.argv, role.env) for role in plan.roles))
        if MODEL_DIR in used:
            folder = Path(_model_dir(plan, self._context))
            return [f"{_readable(folder)}:{_MODEL}:ro"], {}
        if plan.model_source.startswith("/"):
            folder = Path(plan.model_source)
            return [f"{_readable(folder)}:{folder}:ro"], {}
        cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
        cache.mkdir(parents=True, exist_ok=True)
        mounts, env = [f"{cache}:{_HUB_CACHE}"], {"HF_HOME": _HUB_CACHE}
        if self._context.environ.get("HF_TOKEN"):
            # As a file: an environment variable shows in `docker inspect`.
            mounts.append(f"{self._token_file}:{_TOKEN}:ro")
            env["HF_TOKEN_PATH"] = _TOKEN
        return mounts, env

    @property
    def _token_file(self) -> Path:
        return self._context.tmp_root / "hf_token"

    def _write_token(self) -> None:
        secret = self._context.environ.get("HF_TOKEN")
        if secret and not self._token_file.exists():
            self._token_file.touch(mode=0o600)
            self._token_file.write_text(secret)

    def _user(self) -> str | None:
        """The caller, who can read what is mounted; root, where a hub's cache of root's must be written."""
        hub = not self._plan.model_source.startswith(("/", "package:"))
        return container.default_user() or ("0:0" if hub else None)

    def _image_name(self, role: RolePlan) -> str:
        assert role.container is not None, "a plan for the docker runtime has containers"
        return role.container.image

    def _image(self, name: str) -> list[str]:
        """The image's environment. Raises BadInput for one that this engine does not have."""
        from docker.errors import ImageNotFound  # noqa: PLC0415 - half a second

        assert self.engine is not None, "set when it was made"
        with engine.reported(name):
            one = container.client(self.engine)
            try:
                found: dict[str, Any] | None = one.images.get(name).attrs
            except ImageNotFound:
                found = None
                if "@sha256:" in name:
                    self._context.console.print(f"pulling {name} (once per engine) …", soft_wrap=True)
                    found = one.images.pull(name).attrs
        if found is None:
            short = name.rpartition("/")[2].partition(":")[0]
            plan = self._plan
            mend = f"build it: nox -s build -- {short} pins={plan.pins} variant={plan.variant}"
            raise BadInput("plan", "image", name, f"is not on the engine at {self.engine}", mend)
        return list(found["Config"].get("Env") or [])


def _model_dir(plan: Plan, context: Context) -> Path | str:
    if context.model_dir is None:
        raise MissingPrerequisite(f"the model {plan.model_source} is missing", "run `make setup`")
    return context.model_dir(plan.model_source)


def _readable(folder: Path) -> Path:
    """The folder, if whoever the container runs as can read it."""
    if container.default_user() is None:
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
