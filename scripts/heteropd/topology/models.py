"""The model that engines load: where it is, and what a container must have mounted to see it."""

import os
from pathlib import Path

from heteropd.config.model_facts import hub_entry
from heteropd.containers import docker_host, lifecycle, transfer
from heteropd.containers.transfer import Say
from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.plan.environment import MODEL_DIR, places_used
from heteropd.plan.model import Plan, RolePlan
from heteropd.topology.context import Context

MOUNTED_AT = "/model"
HUB_CACHE = "/home/heteropd/.cache/huggingface"
_HUB_VOLUME = "heteropd-hub"


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
        assert role.container is not None, "a plan for the docker runtime has containers"
        volume = transfer.model(
            folder, docker_host.of_host(role.host.ssh, role.host.docker), role.container.image, say
        )
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
                fix = (
                    f"name {folder.resolve()}"
                    if folder.is_symlink()
                    else f"copy it: cp -rL {folder} ELSEWHERE"
                )
                raise BadInput("plan", "model", str(link), problem, fix)


def _require_readable(folder: Path) -> None:
    """Raise BadInput where whoever the container runs as cannot read the folder."""
    if lifecycle.default_user() is not None or not folder.is_dir():
        return
    for file in [folder, *sorted(folder.iterdir())]:
        if file.exists() and not file.stat().st_mode & 0o004:
            problem = "cannot be read by the image's user"
            raise BadInput("plan", "model", str(file), problem, f"chmod -R o+rX {folder}")
