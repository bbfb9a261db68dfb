"""A bundle is what was collected, for what it was collected, or it is refused."""

from __future__ import annotations

import io
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from heteropd.config import env
from heteropd.errors import BadInput
from heteropd.images import bake, bundle, bundle_folder, byhand, command, context, recipe
from heteropd.images.bake import Options
from heteropd.images.bundle_folder import Bundle, BundledBase, BundledImage
from heteropd.images.context import BuildContext

ROOT = Path(__file__).parents[3]
BASES = {"build": "bases/1.tar", "ship": "bases/2.tar"}


@pytest.fixture
def shop() -> BuildContext:
    return BuildContext(ROOT, env.load(ROOT), Console(file=io.StringIO()))


@pytest.fixture
def folder(shop: BuildContext, tmp_path: Path) -> Path:
    """A bundle of the router, as collecting makes it, with small files."""
    target = tmp_path / "bundle"
    (target / "wheels").mkdir(parents=True)
    (target / "bases").mkdir()
    (target / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    for name in BASES.values():
        (target / name).write_bytes(b"archive")
    choice = recipe.choose("router", None, None, shop.env)
    made = recipe.render(choice, shop.env, ROOT, {})
    build, ship = made.base, made.ship
    image = BundledImage(
        pins=choice.pins_name,
        variant=choice.variant_name,
        build=build,
        ship=ship,
        locks=bundle.locks(choice, shop),
        sources={},
    )
    bases = {
        build: BundledBase(archive=BASES["build"], tag="heteropd-bundle:1"),
        ship: BundledBase(archive=BASES["ship"], tag="heteropd-bundle:2"),
    }
    sums = {name: bundle_folder.sha256(path) for name, path in bundle_folder.files(target)}
    bundle_folder.write(Bundle(images={"router": image}, bases=bases, files=sums), target)
    return target


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The archives that the engine was given, in order."""
    seen: list[str] = []

    def load(stream: Any) -> list[Any]:
        seen.append(Path(stream.name).name)
        return [SimpleNamespace(tags=[f"heteropd-bundle:{Path(stream.name).stem}"])]

    client = SimpleNamespace(images=SimpleNamespace(load=load), close=lambda: None)
    monkeypatch.setattr(bundle.docker_host, "connect", lambda *_: client)
    return seen


def changed(folder: Path, **values: Any) -> None:
    """Change fields of the router in the manifest."""
    data = json.loads((folder / "bundle.json").read_text())
    data["images"]["router"] |= values
    (folder / "bundle.json").write_text(json.dumps(data))


def test_bases_come_from_the_bundle_and_the_labels_stay(
    shop: BuildContext, folder: Path, loaded: list[str]
) -> None:
    choice = recipe.choose("router", None, None, shop.env)
    (made,) = bundle.recipes_from(folder, [choice], shop)
    online = recipe.render(choice, shop.env, ROOT, {})
    assert (made.base, made.ship) == ("heteropd-bundle:1", "heteropd-bundle:2")
    assert made.labels == online.labels
    assert loaded == ["1.tar", "2.tar"]


@pytest.mark.parametrize("name", ["wheels/a-1-py3-none-any.whl", "bases/2.tar"])
def test_a_changed_file_is_refused_before_anything_is_loaded(
    shop: BuildContext, folder: Path, loaded: list[str], name: str
) -> None:
    (folder / name).write_bytes(b"tampered")
    with pytest.raises(BadInput, match=rf"{name}: is not what was collected"):
        bundle.recipes_from(folder, [recipe.choose("router", None, None, shop.env)], shop)
    assert loaded == []


def test_missing_and_added_files_are_refused(folder: Path) -> None:
    held = bundle_folder.read(folder)
    bundle_folder.verify(held, folder)
    (folder / "wheels" / "b-1-py3-none-any.whl").write_bytes(b"another")
    with pytest.raises(BadInput, match=r"b-1-py3-none-any\.whl: was not collected"):
        bundle_folder.verify(held, folder)
    (folder / "wheels" / "b-1-py3-none-any.whl").unlink()
    (folder / "wheels" / "a-1-py3-none-any.whl").unlink()
    with pytest.raises(BadInput, match=r"a-1-py3-none-any\.whl: is missing"):
        bundle_folder.verify(held, folder)


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    "values",
    [{"locks": {"env/locks/router.txt": "00"}}, {"build": "python:3.10"}, {"sources": {"vllm": "0"}}],
)
def test_a_bundle_for_other_locks_or_pins_is_refused(
    shop: BuildContext, folder: Path, values: dict[str, Any]
) -> None:
    changed(folder, **values)
    with pytest.raises(BadInput, match=r"is for other locks or pins of router, pins standin"):
        bundle.recipes_from(folder, [recipe.choose("router", None, None, shop.env)], shop)


def test_an_image_that_is_not_in_it_is_refused(shop: BuildContext, folder: Path) -> None:
    with pytest.raises(BadInput, match=r"does not hold cpu, pins standin, variant base; make bundle"):
        bundle.recipes_from(folder, [recipe.choose("cpu", None, None, shop.env)], shop)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"format": 2}'])
def test_a_folder_that_is_no_bundle_is_one_line(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(BadInput) as refused:
        bundle_folder.read(tmp_path)
    assert "\n" not in str(refused.value)
    assert "bundle.json" in str(refused.value)


def test_a_bundle_brings_its_own_base(shop: BuildContext, folder: Path) -> None:
    with pytest.raises(BadInput, match="a bundle brings its own base; leave base= out"):
        command.build(
            command.BuildRequest(
                command.chosen(["router"], None, None, shop.env), bundle=str(folder), base="debian:12"
            ),
            shop,
        )


def test_only_a_bundle_or_an_empty_folder_is_overwritten(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "home"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="is not a bundle; name a new or empty folder"):
        bundle._emptied(other)
    assert (other / "thesis.tex").exists()
    assert list(bundle._emptied(folder).iterdir()) == []
    assert bundle._emptied(tmp_path / "a" / "b").is_dir()


def test_system_packages_are_in_stages_that_the_bundle_holds(
    shop: BuildContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    monkeypatch.setattr(bundle.building, "run", lambda _, file, __: built.append(file))
    choice = recipe.choose("cuda", "v0.26", None, shop.env)
    here = context.Site({}, None)
    digest = "sha256:" + "ab" * 32
    given = byhand.by_hand({}, {"ucx": f"image://r.example/ucx@{digest}:/opt/ucx"}, None, ROOT)
    made = byhand.applied(recipe.render(choice, shop.env, ROOT, {}), given, choice)
    images = bundle._stages(made, here, shop)
    assert images == {
        "ucx-part": f"r.example/ucx@{digest}",
        "tools": "heteropd-bundle-stage:cuda-tools",
        "system": "heteropd-bundle-stage:cuda-system",
    }
    (file,) = built
    assert file["group"]["default"]["targets"] == ["cuda-tools", "cuda-system"]
    assert file["target"]["cuda-system"]["output"] == ["type=image,name=heteropd-bundle-stage:cuda-system"]
    ready = replace(made, ready={"tools": "docker-image://t:1", "system": "docker-image://s:1"})
    offline = bake.render([ready], shop.env.images, here, Options(offline=True))["target"]
    assert set(offline) == {"cuda-programs", "cuda"}
    assert offline["cuda"]["contexts"]["system"] == "docker-image://s:1"
    router = recipe.render(recipe.choose("router", None, None, shop.env), shop.env, ROOT, {})
    assert bundle._stages(router, here, shop) == {}


def test_a_folder_cannot_be_bundled(shop: BuildContext, tmp_path: Path) -> None:
    choice = recipe.choose("cuda", "v0.26", None, shop.env)
    with pytest.raises(BadInput, match=r"part\.ucx: .*cannot be bundled; part\.ucx=image://"):
        bundle.run([choice], shop, parts={"ucx": str(tmp_path)})


def test_a_build_from_a_bundle_is_told_of_no_registry(tmp_path: Path) -> None:
    with context.site_of_bundle(tmp_path) as here:
        said = here.secrets["site"].read_text()
        assert here.wheels == tmp_path
    assert "OFFLINE=1" in said
    assert "http" not in said
    assert set(here.secrets) == {"site"}


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """docker/common/install.sh as it is, outside of /opt, with a uv that notes what it is told."""
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n')
    uv.chmod(0o755)
    for name in ("install.sh", "site.sh"):
        text = (ROOT / "docker" / "common" / name).read_text().replace("/opt/tools/bin/uv", str(uv))
        (tmp_path / name).write_text(text.replace("/opt/heteropd", str(tmp_path / "venv")))
    (tmp_path / "venv" / "a-1.dist-info").mkdir(parents=True)
    return tmp_path / "install.sh"


@pytest.mark.parametrize(("offline", "words"), [("1", ["--no-index"]), ("", [])])
def test_the_installer_looks_nowhere_else_when_offline(
    installer: Path, offline: str, words: list[str]
) -> None:
    environ = {"PATH": os.environ["PATH"], "OFFLINE": offline}
    subprocess.run(["bash", installer, "lock.txt"], env=environ, check=True)
    told = (installer.parent / "told").read_text().splitlines()[-1].split()
    assert "--require-hashes" in told
    assert [word for word in told if word == "--no-index"] == words


def test_a_package_does_not_say_where_it_came_from(installer: Path) -> None:
    info = installer.parent / "venv" / "a-1.dist-info"
    (info / "uv_cache.json").write_text('{"timestamp": 1}')
    kept = "a.py,sha256=x,1\na-1.dist-info/RECORD,,\n"
    (info / "RECORD").write_text(kept + "a-1.dist-info/uv_cache.json,sha256=y,16\n")
    subprocess.run(["bash", installer, "lock.txt"], env={"PATH": os.environ["PATH"]}, check=True)
    assert (info / "RECORD").read_text() == kept
    assert not (info / "uv_cache.json").exists()
