"""What an engine's container has mounted of a model: a hub's cache is links, which must not dangle."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.config.machine import Machine
from heteropd.errors import BadInput
from heteropd.plan.model import Plan
from heteropd.topology import Context, containers
from plan_words import make

ROOT = Path(__file__).parents[3]


def planned(model: str) -> Plan:
    plan = make(["case1"], ROOT, Machine(cores=[0, 1]))
    return plan.model_copy(
        update={"model_source": model, "roles": [_argv(role, model) for role in plan.roles]}
    )


def _argv(role, model):
    return role.model_copy(update={"argv": [word.replace("${MODEL_DIR}", model) for word in role.argv]})


def mounts(folder: Path, **host: object) -> list[str]:
    plan = planned(str(folder))
    role = plan.engines[0]
    role = role.model_copy(update={"host": role.host.model_copy(update=host)})
    context = Context(root=ROOT, console=Console(file=io.StringIO()), state_dir=Path("/nowhere"))
    return containers.mounts(plan, role, replace(context), lambda _: None)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A model in a hub's cache, as huggingface_hub keeps it."""
    root = tmp_path / "hub" / "models--org--name"
    folder = root / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (root / "blobs").mkdir()
    for name in ("config.json", "model.safetensors"):
        (root / "blobs" / f"sha-of-{name}").write_text(name)
        (folder / name).symlink_to(f"../../blobs/sha-of-{name}")
    return folder


def test_of_a_snapshot_the_models_root_is_mounted(snapshot: Path) -> None:
    root = snapshot.parents[1]
    assert mounts(snapshot) == [f"{root}:{root}:ro"]


def test_of_a_folder_below_a_snapshot_too(snapshot: Path) -> None:
    (snapshot / "fp8").mkdir()
    (snapshot / "fp8" / "config.json").symlink_to("../../../blobs/sha-of-config.json")
    root = snapshot.parents[1]
    assert mounts(snapshot / "fp8") == [f"{root}:{root}:ro"]


def test_on_another_host_by_its_path_alone() -> None:
    folder = Path("/data/hub/models--Qwen--Qwen3-0.6B/snapshots/c1899de")
    root = "/data/hub/models--Qwen--Qwen3-0.6B"
    assert mounts(Path("/unused"), ssh="root@node", model=str(folder)) == [f"{root}:{root}:ro"]
    assert mounts(Path("/unused"), ssh="root@node", model="/models/mine") == ["/models/mine:/models/mine:ro"]


def test_a_plain_folder_is_mounted_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").touch()
    (folder / "same.json").symlink_to("config.json")
    assert mounts(folder) == [f"{folder}:{folder}:ro"]


@pytest.mark.parametrize("target", ["../elsewhere/model.safetensors", "/elsewhere/model.safetensors", "gone"])
def test_a_link_that_would_dangle_in_the_container_is_refused(tmp_path: Path, target: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.safetensors").touch()
    (folder / "model.safetensors").symlink_to(target)
    with pytest.raises(BadInput, match=r"mine/model\.safetensors.*links to .*does not see; copy it: cp -rL"):
        mounts(folder)


def test_a_link_by_way_of_another_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "real").mkdir(parents=True)
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("real")
    assert mounts(folder)
    (folder / "b").unlink()
    (folder / "b").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="links to"):
        mounts(folder)


def test_a_link_to_a_snapshot_is_answered_with_the_snapshot(snapshot: Path, tmp_path: Path) -> None:
    """Its files' links lead out of wherever the link stands."""
    (tmp_path / "mine").symlink_to(snapshot)
    with pytest.raises(BadInput, match=f"name {snapshot}"):
        mounts(tmp_path / "mine")
