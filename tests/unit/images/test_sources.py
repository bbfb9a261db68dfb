"""Source trees for builds, made from real git repositories by real git."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.config import env as specs
from heteropd.config import mirrors
from heteropd.config.pins import Pick, PinSet, Source, TreePart, Variant
from heteropd.errors import BadInput, MissingPrerequisite
from heteropd.images import sources
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Choice
from heteropd.system import Completed, LocalRunner

ROOT = Path(__file__).parents[3]
ENV = specs.load(ROOT)
WHERE = "env/pins/doc-2025-12.yaml"


@dataclass
class Upstream:
    """A remote: a base, a fix on a branch of it, and two commits that fight over one line."""

    folder: Path

    def git(self, *words: str) -> str:
        environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        argv = ["git", "-C", str(self.folder), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(argv, env=environ, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", name)
        return self.git("rev-parse", "HEAD")


@dataclass
class Spy(LocalRunner):
    """Runs commands, and remembers them."""

    seen: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def run(self, argv: Sequence[str], **options: object) -> Completed:
        self.seen.append(tuple(argv))
        return super().run(argv, **options)  # type: ignore[arg-type]

    def fetches(self) -> list[tuple[str, ...]]:
        return [one for one in self.seen if "fetch" in one]


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    made = Upstream(tmp_path / "upstream")
    made.folder.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    return made


@pytest.fixture
def runner() -> Spy:
    return Spy()


@pytest.fixture
def shop(tmp_path: Path, runner: Spy) -> BuildContext:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "kit").mkdir()
    return BuildContext(tmp_path / "kit", ENV, Console(file=io.StringIO()), runner, environ=environ)


def choice(source: Source, picks: Sequence[Pick] = (), tree: str | None = None) -> Choice:
    variant = Variant(title="t", picks=list(picks), trees={"lib": tree} if tree else {}, capabilities=[])
    pins = ENV.accelerator_pins["doc-2025-12"].model_copy(update={"sources": {"lib": source}})
    assert isinstance(pins, PinSet)
    spec = ENV.images.images["router"].model_copy(update={"sources": ["lib"], "optional_sources": []})
    return Choice("router", "doc-2025-12", "v", spec, pins, variant, pins.images["router"])


def pick(commit: str, **more: object) -> Pick:
    return Pick.model_validate({"source": "lib", "commit": commit, "change": "up/stream#1", **more})


@pytest.fixture
def fighting(upstream: Upstream) -> tuple[str, str, str]:
    """The base, a clean pick, and a pick that conflicts with the base."""
    first = upstream.commit("a.txt", "one\n")
    base = upstream.commit("a.txt", "ours\n")
    upstream.git("checkout", "--quiet", "-b", "side", first)
    clean = upstream.commit("b.txt", "new\n")
    clash = upstream.commit("a.txt", "theirs\n")
    return base, clean, clash


def test_a_commit_becomes_files_without_git(upstream: Upstream, shop: BuildContext, runner: Spy) -> None:
    commit = upstream.commit("a.txt", "one\n")
    upstream.commit("a.txt", "two\n")
    made = sources.prepare(choice(Source(remote=str(upstream.folder), commit=commit)), shop)["lib"]
    assert [one.name for one in made.iterdir()] == ["a.txt"]
    assert (made / "a.txt").read_text() == "one\n"
    assert {one.stat().st_mtime for one in (made, made / "a.txt")} == {ENV.images.epoch}
    assert "--depth" in runner.fetches()[0]


def test_a_second_call_runs_no_git(upstream: Upstream, shop: BuildContext, runner: Spy) -> None:
    wanted = choice(Source(remote=str(upstream.folder), commit=upstream.commit("a.txt", "one\n")))
    first = sources.prepare(wanted, shop)
    runner.seen.clear()
    assert sources.prepare(wanted, shop) == first
    assert not runner.seen


def test_a_clean_pick_needs_no_history(
    fighting: tuple[str, str, str], upstream: Upstream, shop: BuildContext
) -> None:
    base, clean, _ = fighting
    made = sources.prepare(
        choice(Source(remote=f"file://{upstream.folder}", commit=base), [pick(clean)]), shop
    )
    assert (made["lib"] / "a.txt").read_text() == "ours\n"
    assert (made["lib"] / "b.txt").read_text() == "new\n"


def test_a_conflict_is_one_line_that_names_the_file(
    fighting: tuple[str, str, str], upstream: Upstream, shop: BuildContext
) -> None:
    base, clean, clash = fighting
    wanted = choice(Source(remote=str(upstream.folder), commit=base), [pick(clean), pick(clash)])
    with pytest.raises(BadInput, match=rf"{WHERE}: pick of up/stream#1: '{clash}': conflicts .* in a\.txt;"):
        sources.prepare(wanted, shop)


def test_theirs_settles_a_conflict_and_the_tree_is_checked(
    fighting: tuple[str, str, str], upstream: Upstream, shop: BuildContext
) -> None:
    base, clean, clash = fighting
    source = Source(remote=str(upstream.folder), commit=base)
    picks = [pick(clean), pick(clash, prefer="theirs")]
    expected = upstream.git("rev-parse", f"{clash}^{{tree}}")
    made = sources.prepare(choice(source, picks, expected), shop)["lib"]
    assert (made / "a.txt").read_text() == "theirs\n"
    with pytest.raises(BadInput, match=rf"expected {'0' * 40}, found {expected}"):
        sources.prepare(choice(source, picks, "0" * 40), shop)


def test_a_wrong_tree_is_never_kept(upstream: Upstream, shop: BuildContext, tmp_path: Path) -> None:
    source = Source(remote=str(upstream.folder), commit=upstream.commit("a", "b"), tree="1" * 40)
    for _ in range(2):
        with pytest.raises(BadInput, match="expected 1111"):
            sources.prepare(choice(source), shop)
    assert not list((tmp_path / "cache/heteropd").glob("sources/*"))


def test_a_commit_on_an_overlay_may_change_python_only(upstream: Upstream, shop: BuildContext) -> None:
    """What the package was compiled from stays as it is; tests and documents are in no image."""
    for folder in ("vllm", "csrc", "tests"):
        (upstream.folder / folder).mkdir()
    base = upstream.commit("vllm/a.py", "one\n")
    fine = [upstream.commit("vllm/a.py", "two\n"), upstream.commit("tests/t.cu", "x\n")]
    native = {name: upstream.commit(name, "x\n") for name in ("csrc/kernel.cu", "vllm/_C.abi3.so")}

    def overlaid(*commits: str) -> Choice:
        made = choice(Source(remote=str(upstream.folder), commit=base), [pick(commit) for commit in commits])
        parts = {"router": {"vllm-python": TreePart(tree="lib")}}
        return replace(made, pins=made.pins.model_copy(update={"parts": parts}))

    assert (sources.prepare(overlaid(*fine), shop)["lib"] / "vllm/a.py").read_text() == "two\n"
    for name, commit in native.items():
        with pytest.raises(BadInput, match=rf"changes {name}, which vLLM's package was built from;"):
            sources.prepare(overlaid(*fine, commit), shop)


def test_a_checkout_takes_the_branch_instead(
    fighting: tuple[str, str, str], upstream: Upstream, shop: BuildContext
) -> None:
    base, _, clash = fighting
    source = Source(remote=str(upstream.folder), commit=base)
    made = sources.prepare(choice(source, [pick(clash, action="checkout")]), shop)["lib"]
    assert (made / "a.txt").read_text() == "theirs\n"


def test_a_commit_that_is_missing(upstream: Upstream, shop: BuildContext) -> None:
    upstream.commit("a", "b")
    with pytest.raises(BadInput, match=rf"{WHERE}: commit: '{'2' * 40}': is not in .*upstream; correct"):
        sources.prepare(choice(Source(remote=str(upstream.folder), commit="2" * 40)), shop)


def test_a_remote_that_is_not_there(shop: BuildContext, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"remote: .*cannot be fetched from .*; check the network, or name a"):
        sources.prepare(choice(Source(remote=str(tmp_path / "none"), commit="2" * 40)), shop)


def test_a_remote_that_gives_no_single_commits(upstream: Upstream, shop: BuildContext) -> None:
    """Old servers refuse a commit that no branch ends with: then everything is fetched."""
    commit = upstream.commit("a.txt", "one\n")
    upstream.commit("a.txt", "two\n")

    class Old(Spy):
        def run(self, argv: Sequence[str], **options: object) -> Completed:
            if "fetch" in argv and "--depth" in argv:
                said = "error: Server does not allow request for unadvertised object"
                return Completed(tuple(argv), 128, "", said)
            return super().run(argv, **options)

    made = sources.prepare(
        choice(Source(remote=str(upstream.folder), commit=commit)), replace(shop, runner=Old())
    )
    assert (made["lib"] / "a.txt").read_text() == "one\n"


def test_an_unresolved_commit_is_refused_with_its_command(upstream: Upstream, shop: BuildContext) -> None:
    source = Source(remote=str(upstream.folder), commit=upstream.commit("a", "b"))
    open_pick = pick("unresolved", resolve="git ls-remote there")
    with pytest.raises(BadInput, match=r"is not pinned; resolve it .*git ls-remote there"):
        sources.prepare(choice(source, [open_pick], "3" * 40), shop)
    assert (sources.prepare(choice(source, [open_pick], "3" * 40), shop, unlocked=True)["lib"] / "a").exists()


def test_a_mirror_is_asked_instead(upstream: Upstream, shop: BuildContext, tmp_path: Path) -> None:
    commit = upstream.commit("a.txt", "one\n")
    file = tmp_path / "mirrors.yaml"
    file.write_text(f"git: {{'https://nowhere.invalid/': '{tmp_path}/'}}\n")
    here = replace(shop, environ={**shop.environ, "HETEROPD_MIRRORS": str(file)})
    source = Source(remote="https://nowhere.invalid/upstream", commit=commit)
    assert (sources.prepare(choice(source), here)["lib"] / "a.txt").read_text() == "one\n"


def test_a_users_git_settings_do_not_change_a_tree(
    fighting: tuple[str, str, str], upstream: Upstream, shop: BuildContext, tmp_path: Path
) -> None:
    base, clean, _ = fighting
    hook = tmp_path / "hooks" / "post-checkout"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\necho planted > planted.txt\n")
    hook.chmod(0o755)
    settings = f"[core]\n  hooksPath = {hook.parent}\n  autocrlf = true\n[commit]\n  gpgsign = true\n"
    (tmp_path / ".gitconfig").write_text(settings)
    source = Source(remote=str(upstream.folder), commit=base)
    made = sources.prepare(choice(source, [pick(clean)]), shop)["lib"]
    assert sorted(one.name for one in made.iterdir()) == ["a.txt", "b.txt"]
    assert (made / "a.txt").read_bytes() == b"ours\n"


def test_git_is_missing(upstream: Upstream, shop: BuildContext) -> None:
    source = Source(remote=str(upstream.folder), commit=upstream.commit("a", "b"))

    class Bare(Spy):
        def run(self, argv: Sequence[str], **_: object) -> Completed:
            return Completed(tuple(argv), 127, "", "not found")

    with pytest.raises(MissingPrerequisite, match="git is missing; install it"):
        sources.prepare(choice(source), replace(shop, runner=Bare()))


def test_a_folder_by_hand_is_taken_as_it_is(shop: BuildContext, runner: Spy, tmp_path: Path) -> None:
    wanted = choice(Source(remote="https://nowhere.invalid/x", commit="4" * 40))
    assert sources.prepare(wanted, shop, {"lib": tmp_path}) == {"lib": tmp_path}
    assert not runner.seen
    with pytest.raises(BadInput, match=r"source\.nixl: .*no such source; sources of router: lib"):
        sources.prepare(wanted, shop, {"nixl": tmp_path})


def test_images_are_found_at_the_longest_prefix(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env/mirrors.yaml").write_text(
        "images: {'docker.io/': 'here.example/hub/', 'docker.io/nvidia/': 'here.example/nv/'}\n"
    )
    site = mirrors.load(tmp_path, {})
    assert site.image("nvidia/cuda:1") == "here.example/nv/cuda:1"
    assert site.image("python:3") == "here.example/hub/library/python:3"
    assert site.image("vault.habana.ai/a:1") == "vault.habana.ai/a:1"
    assert mirrors.load(tmp_path / "none", {}).image("python:3") == "python:3"


def test_a_named_mirrors_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"HETEROPD_MIRRORS: .*no such file"):
        mirrors.load(ROOT, {"HETEROPD_MIRRORS": str(tmp_path / "none.yaml")})
