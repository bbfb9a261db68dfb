"""Roles as containers, each on the Docker of its host."""

from collections.abc import Mapping
from typing import Any

from heteropd.containers import docker_host, docker_options, lifecycle, transfer
from heteropd.containers.lifecycle import ContainerLaunch
from heteropd.errors import BadInput
from heteropd.plan.environment import (
    ENGINE_BIN,
    ENGINE_PYTHON,
    KEEPS_ENVIRONMENT,
    MODEL_DIR,
    child_argv,
    child_environment,
)
from heteropd.plan.model import Plan, RolePlan
from heteropd.system import parallel_map
from heteropd.topology import models
from heteropd.topology.context import Context
from heteropd.topology.recover import packed

_ModelKey = tuple[str, str | None, str | None]
_TOKEN = "/run/secrets/hf_token"  # noqa: S105 - a place, not a secret


def docker_hosts_of(plan: Plan) -> list[str]:
    """Addresses of the Docker hosts of a plan, each once."""
    return list(dict.fromkeys(docker_host.of_host(role.host.ssh, role.host.docker) for role in plan.roles))


class ContainerStarter:
    """Roles as containers. Their environment is the image's and the plan's; nothing of the caller's.

    Makes images and models present on every Docker host, side by side, when it is made.
    """

    def __init__(self, plan: Plan, context: Context, topology_id: str) -> None:
        self.docker_hosts = docker_hosts_of(plan)
        self._plan, self._context, self._id = plan, context, topology_id
        wanted = dict.fromkeys(
            (docker_host.of_host(role.host.ssh, role.host.docker), _image(role)) for role in plan.roles
        )
        self._baked = dict(parallel_map(lambda key: (key, self._environment(*key)), wanted))
        serving = {_model_key(role): role for role in plan.engines}
        self._mounts = dict(
            parallel_map(
                lambda item: (item[0], models.mounts(plan, item[1], context, self._say)), serving.items()
            )
        )
        self._launches = {role.name: self._launch(role) for role in plan.roles}

    def dropped(self) -> list[str]:
        return []

    def start(self, name: str) -> Mapping[str, Any]:
        role = next(role for role in self._plan.roles if role.name == name)
        return {
            "container": lifecycle.start(
                self._launches[name], docker_host.of_host(role.host.ssh, role.host.docker)
            )
        }

    def _launch(self, role: RolePlan) -> ContainerLaunch:
        planned = role.container
        assert planned is not None, "a plan for the docker runtime has containers"
        options = docker_options.create_options(planned.options)
        image = self._context.images[role.runs_on]
        places = {ENGINE_PYTHON: image.python, ENGINE_BIN: image.bin, MODEL_DIR: models.MOUNTED_AT}
        baked = self._baked[docker_host.of_host(role.host.ssh, role.host.docker), planned.image]
        env = child_environment(role.env, baked, places, {}).variables
        added = {name: value for name, value in env.items() if baked.get(name) != value}
        is_engine = role.role != "router"
        mounts = self._mounts[_model_key(role)] if is_engine else []
        options["volumes"] = [*options.get("volumes", []), *mounts]
        user = self._user(role)
        if user and "privileged" not in options:
            options.setdefault("user", user)
        hub = is_engine and models.from_hub(self._plan, role)
        token = self._context.environ.get("HF_TOKEN") if hub else None
        return ContainerLaunch(
            name=f"heteropd-{self._id}-{role.name}",
            image=planned.image,
            argv=child_argv(role.argv, places),
            env={
                **KEEPS_ENVIRONMENT,
                **added,
                **({"HF_HOME": models.HUB_CACHE} if hub else {}),
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
        attributes = transfer.image(name, url, docker_host.address(), self._say)
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
        return caller or ("0:0" if models.from_hub(self._plan, role) else None)

    def _say(self, text: str) -> None:
        self._context.console.print(text, soft_wrap=True, markup=False, highlight=False)


def _model_key(role: RolePlan) -> _ModelKey:
    """Whose models a role's mounts are: its Docker host's, and the folders where the host has its own."""
    return docker_host.of_host(role.host.ssh, role.host.docker), role.host.model, role.host.hub_cache


def _image(role: RolePlan) -> str:
    assert role.container is not None, "a plan for the docker runtime has containers"
    return role.container.image
