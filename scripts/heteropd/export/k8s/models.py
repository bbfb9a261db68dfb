"""Where an engine's pod has its model from, and the hub's token. The volume is always called ``model``."""

from dataclasses import dataclass, field
from typing import Any

from heteropd.config.env import Env
from heteropd.config.model_facts import hub_entry
from heteropd.plan.model import Plan
from heteropd_engine import convert

VOLUME = "model"
_MODEL, _HUB, _TOKEN = "/model", "/hub", "/run/secrets/hub"


@dataclass
class Model:
    """What a pod gets for its model. ``folder`` stands for ${MODEL_DIR}; ``said`` is for people."""

    summary: str
    folder: str = ""
    env: dict[str, str] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    makers: list[dict[str, Any]] = field(default_factory=list)


def model(plan: Plan, env: Env, python: str) -> Model:
    """For any engine of the plan; ``python`` is the one of its image."""
    source = plan.model_source
    if source.startswith("package:"):
        return _packaged(source.removeprefix("package:"), env, python)
    if source.startswith("/"):
        return _folder(source)
    return _hub(env)


def _packaged(package: str, env: Env, python: str) -> Model:
    """The stand-ins' image has the package; a first container makes of it what vLLM loads."""
    folder = f"{_MODEL}/{package}"
    pinned = env.standin.model
    return Model(
        summary="an emptyDir: each new pod makes its model from the package in its image",
        folder=folder,
        volumes=[{"name": VOLUME, "emptyDir": {}}],
        mounts=[{"name": VOLUME, "mountPath": _MODEL, "readOnly": True}],
        makers=[
            {
                "name": VOLUME,
                "command": convert.command(python, pinned.file, folder, "float32"),
                "volumeMounts": [{"name": VOLUME, "mountPath": _MODEL}],
            }
        ],
    )


def _folder(path: str) -> Model:
    whole = hub_entry(path)
    return Model(
        summary=f"the folder {whole} of the node, which must be there",
        volumes=[{"name": VOLUME, "hostPath": {"path": whole, "type": "Directory"}}],
        mounts=[{"name": VOLUME, "mountPath": whole, "readOnly": True}],
    )


def _hub(env: Env) -> Model:
    token = env.defaults.kubernetes.token
    secret = {
        "secretName": token.secret,
        "optional": True,
        "items": [{"key": token.key, "path": "token"}],
    }
    return Model(
        summary="an emptyDir: each new pod downloads the model; put a PersistentVolumeClaim there to keep it",
        env={"HF_HOME": _HUB, "HF_TOKEN_PATH": f"{_TOKEN}/token"},
        volumes=[{"name": VOLUME, "emptyDir": {}}, {"name": "hub-token", "secret": secret}],
        mounts=[
            {"name": VOLUME, "mountPath": _HUB},
            {"name": "hub-token", "mountPath": _TOKEN, "readOnly": True},
        ],
    )
