"""`make lock`: open inputs become answers of real repositories, and only open ones do."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from heteropd.config import env
from heteropd.config import lock as locks
from heteropd.config.lock import Lock, LockedValue, Question
from heteropd.errors import BadInput, KitError
from heteropd.images import lock, recipe, requirements, upstream
from heteropd.images.context import BuildContext
from heteropd.images.upstream import Answer

ROOT = Path(__file__).parents[3]
PINS = "doc-2025-12"
PICK = "variants.prefill-process.picks.0.commit"
DIGEST = "sha256:" + "ab" * 32
VLLM = "https://github.com/vllm-project/vllm"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The env/ of the checkout without locks of pin sets, to write into."""
    shutil.copytree(ROOT / "env", tmp_path / "env")
    for file in (tmp_path / "env" / "locks").glob("*.lock.yaml"):
        file.unlink()
    return tmp_path


@pytest.fixture
def shop(root: Path) -> BuildContext:
    return BuildContext(root, env.load(root), Console(file=io.StringIO(), width=200))


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | KitError]:
    """What the engine would find for an image; one that is not in here is not reachable."""
    known: dict[str, str | KitError] = {}

    def digest(question: Question, _: BuildContext) -> str:
        found = known.get(question.where, KitError(f"{question.where}: cannot be reached"))
        if isinstance(found, KitError):
            raise found
        return found

    monkeypatch.setattr(upstream, "_digest", digest)
    return known


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Locks that would be resolved, which takes a registry; those of cuda cannot be."""
    asked: list[str] = []

    def resolve(choice: recipe.Choice, _: BuildContext) -> None:
        asked.append(requirements.file(choice))
        if choice.image == "cuda":
            raise KitError(f"{requirements.file(choice)}: cannot be resolved: no registry")

    monkeypatch.setattr(requirements, "resolve", resolve)
    return asked


def said(shop: BuildContext) -> str:
    file = shop.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def git(folder: Path, *words: str) -> str:
    names = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", folder, *words], env={**os.environ, **names}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def upstreams(images: dict[str, str | KitError], root: Path, tmp_path: Path) -> Path:
    """A mirror of github.com with a vllm and a nixl; the setting that names it is in env/mirrors.yaml.

    No image is known: a test that asks for one says so in ``images``.
    """
    assert not images
    for name in ("vllm-project/vllm", "ai-dynamo/nixl"):
        folder = tmp_path / "mirror" / name
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch=main")
        git(folder, "commit", "--allow-empty", "--quiet", "-m", "one")
    git(tmp_path / "mirror/vllm-project/vllm", "update-ref", "refs/pull/30448/head", "HEAD")
    git(tmp_path / "mirror/ai-dynamo/nixl", "tag", "-a", "0.7.0", "-m", "release")
    mapping = {"git": {"https://github.com/": f"{tmp_path}/mirror/"}, "images": {}}
    (root / "env" / "mirrors.yaml").write_text(yaml.safe_dump(mapping))
    return tmp_path / "mirror"


def test_open_inputs_know_what_to_ask(shop: BuildContext) -> None:
    found = {one.field: one.question for one in locks.open_inputs(shop.env.pins[PINS])}
    assert found[PICK] == Question("git", VLLM, "refs/pull/30448/head")
    gaudi = found["images.gaudi.digest"]
    assert gaudi is not None
    assert gaudi.kind == "image"
    assert gaudi.where.startswith("vault.habana.ai/")


def test_what_is_found_is_written_and_makes_the_recipe_locked(
    shop: BuildContext, root: Path, upstreams: Path, images: dict[str, str | KitError]
) -> None:
    gaudi = shop.env.pins[PINS].images["gaudi"].ref
    images[gaudi] = DIGEST
    problems = lock.run(PINS, shop)
    commit = git(upstreams / "vllm-project/vllm", "rev-parse", "HEAD")
    again = env.load(root)
    assert again.pins[PINS].images["gaudi"].digest == DIGEST
    assert again.pins[PINS].variants["prefill-process"].picks[0].commit == commit
    left = {str(problem).split(":")[1].strip() for problem in problems}
    assert left == {still_open.field for still_open in locks.open_inputs(again.pins[PINS])}


def test_requirements_of_images_are_made_where_they_are_missing_or_old(
    shop: BuildContext, root: Path, resolver: list[str]
) -> None:
    pins = ["v0.26", "v0.30"]
    names = [requirements.file(choice) for choice in requirements.choices(pins, shop.env)]
    assert names == [f"env/locks/engine-{image}-{pin}.txt" for pin in pins for image in ("cuda", "gaudi")]
    assert lock._requirements(pins, shop, update=False) == []
    assert resolver == [], "what is committed is current"
    (root / names[0]).write_text("# `make lock`, of something else\n")
    (root / names[1]).unlink()
    (problem,) = lock._requirements(pins, shop, update=False)
    assert resolver == names[:2]
    assert "engine-cuda-v0.26.txt: cannot be resolved: no registry" in str(problem)
    lock._requirements(pins, shop, update=True)
    assert resolver[2:] == names


@pytest.mark.usefixtures("upstreams")
def test_partial_success_is_kept_and_the_rest_said(shop: BuildContext, root: Path) -> None:
    problems = [str(one) for one in lock.run(PINS, shop)]
    line = next(one for one in problems if "images.gaudi.digest" in one)
    assert "stays unresolved" in line
    assert "cannot be reached" in line
    assert PICK in locks.load(root, PINS).resolved
    assert env.load(root).pins[PINS].images["gaudi"].digest == "unresolved"


def test_a_locked_input_stays_until_update(shop: BuildContext, root: Path, upstreams: Path) -> None:
    folder = upstreams / "vllm-project/vllm"
    lock.run(PINS, shop)
    text = locks.path(root, PINS).read_text()
    before = git(folder, "rev-parse", "HEAD")
    git(folder, "commit", "--allow-empty", "--quiet", "-m", "two")
    git(folder, "update-ref", "refs/pull/30448/head", "HEAD")
    lock.run(PINS, shop)
    assert locks.path(root, PINS).read_text() == text
    assert "is current" in said(shop)
    fresh = BuildContext(root, env.load(root), shop.console)
    rows = {row.what: row for row in upstream.drift([PINS], fresh, as_json=False)}
    assert rows[f"{PINS}: variants.prefill-process.picks.0"].state == "moved"
    assert rows[f"{PINS}: variants.prefill-process.picks.0"].pinned == before
    lock.run(PINS, shop, update=True)
    assert locks.load(root, PINS).resolved[PICK].value == git(folder, "rev-parse", "HEAD") != before


def test_check_changes_nothing_and_peels_tags(
    shop: BuildContext, root: Path, upstreams: Path, images: dict[str, str | KitError]
) -> None:
    router = shop.env.pins[PINS].images["router"]
    images[router.ref] = router.digest
    problems = [str(problem) for problem in lock.run(PINS, shop, check=True)]
    assert any("images.gaudi" in problem and "cannot be reached" in problem for problem in problems)
    assert not any("images.router:" in problem for problem in problems)
    assert all("could not be checked" in problem for problem in problems)
    assert not locks.path(root, PINS).exists()
    rows = {row.what: row for row in upstream.drift([PINS], shop, as_json=False)}
    assert rows[f"{PINS}: images.router"].state == "same"
    assert rows[f"{PINS}: images.gaudi"].state == "could not check"
    nixl = rows[f"{PINS}: sources.nixl"]
    assert (nixl.state, nixl.now) == ("moved", git(upstreams / "ai-dynamo/nixl", "rev-parse", "HEAD"))


@pytest.mark.usefixtures("upstreams")
def test_a_missing_ref_and_a_dead_remote_are_one_line_each(shop: BuildContext) -> None:
    missing = Question("git", VLLM, "refs/heads/nowhere")
    dead = Question("git", "https://github.com/vllm-project/gone", "refs/heads/main")
    found = upstream.ask([missing, dead], shop)
    assert "no such ref" in str(found[missing])
    assert "name a mirror in env/mirrors.yaml" in str(found[dead])
    assert all("\n" not in str(one) for one in found.values())


def test_the_lock_answers_only_what_is_open_and_still_asked(shop: BuildContext) -> None:
    pins = shop.env.pins[PINS]
    gaudi = next(one for one in locks.open_inputs(pins) if one.field == "images.gaudi.digest")
    pinned = LockedValue(asked=pins.images["cuda"].ref, value=DIGEST)
    lying = Lock(pins=PINS, resolved={"images.cuda.digest": pinned})
    assert locks.apply(pins, lying, "lock").images["cuda"].digest == pins.images["cuda"].digest
    stale = Lock(pins=PINS, resolved={gaudi.field: LockedValue(asked="another:tag", value=DIGEST)})
    assert locks.apply(pins, stale, "lock") == pins
    good = locks.apply(
        pins, Lock(pins=PINS, resolved={gaudi.field: LockedValue(asked=gaudi.asked, value=DIGEST)}), ""
    )
    assert good.images["gaudi"].digest == DIGEST
    assert good.images["gaudi"].resolve is None


def test_an_answer_that_is_none_is_refused_by_name(shop: BuildContext, root: Path) -> None:
    gaudi = next(one for one in locks.open_inputs(shop.env.pins[PINS]) if one.field == "images.gaudi.digest")
    bad = Lock(pins=PINS, resolved={gaudi.field: LockedValue(asked=gaudi.asked, value="latest")})
    locks.path(root, PINS).write_text(locks.render(bad))
    with pytest.raises(
        BadInput, match=r"doc-2025-12\.lock\.yaml: images\.gaudi\.digest: 'latest': is not an"
    ):
        env.load(root)
    locks.path(root, PINS).write_text(locks.render(Lock(pins="v0.26")))
    with pytest.raises(BadInput, match="is the lock of another pin set"):
        env.load(root)


def test_the_text_is_the_same_for_the_same_lock_and_reads_back(root: Path) -> None:
    each = {"b": LockedValue(asked="y", value="2"), "a": LockedValue(asked="x", value="1")}
    text = locks.render(Lock(pins=PINS, resolved=each))
    assert text == locks.render(Lock(pins=PINS, resolved=dict(reversed(each.items()))))
    locks.path(root, PINS).write_text(text)
    assert locks.load(root, PINS).resolved == each


def test_a_version_is_the_newest_that_the_range_allows(
    shop: BuildContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of a folder of wheels, as a site without a network has it."""
    monkeypatch.setattr(upstream.pip_settings, "read", lambda _: {})
    (tmp_path / "nothing").mkdir()
    for version in ("0.7.1", "1.2.0", "2.0.0"):
        wheel(tmp_path, "nixl-cu12", version)
    only = {
        "UV_DEFAULT_INDEX": (tmp_path / "nothing").as_uri(),
        "UV_FIND_LINKS": str(tmp_path),
        "UV_NO_CACHE": "1",
        "PATH": os.environ["PATH"],
    }
    local = BuildContext(shop.root, shop.env, shop.console, environ=only)
    within, none = Question("package", "nixl-cu12", ">=0.7,<2"), Question("package", "nixl-cu12", ">3")
    found: Mapping[Question, Answer] = upstream.ask([within, none], local)
    assert found[within] == "1.2.0"
    assert "no registry has it" in str(found[none])


def wheel(folder: Path, name: str, version: str) -> Path:
    """The smallest thing that is a wheel."""
    plain = name.replace("-", "_")
    file = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        info = f"{plain}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return file
