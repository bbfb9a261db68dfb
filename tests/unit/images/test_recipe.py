"""From words to a build's command: what it holds, what it must never hold, and what is refused."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from heteropd.config import env as room
from heteropd.config.types import UNRESOLVED
from heteropd.containers import docker_host
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.images import bake, build, command, context, recipe
from heteropd.images.bake import Options
from heteropd.system import Completed

ROOT = Path(__file__).parents[3]
PASSWORD = "hunter2"
INDEX = f"https://ann:{PASSWORD}@mirror.example/simple"


@pytest.fixture(scope="module")
def env():
    return room.load(ROOT)


@pytest.fixture
def cpu(env):
    return recipe.choose("cpu", None, None, env)


@pytest.fixture
def rendered(cpu, env):
    return recipe.render(cpu, env, ROOT, {})


def opened(choice, digest=UNRESOLVED):
    """The choice with a base whose digest is left open."""
    update = {"digest": digest, "resolve": "docker buildx imagetools inspect python:3.11"}
    base = choice.base.model_copy(update=update)
    pins = choice.pins.model_copy(update={"images": {**choice.pins.images, choice.image: base}})
    return replace(choice, base=base, pins=pins)


class Says:
    """A runner that gives one answer to every command."""

    def __init__(self, code=0, out=""):
        self.answer = (code, out)

    def run(self, argv, *, env=None, timeout_s=60.0):
        del env, timeout_s
        return Completed(tuple(argv), *self.answer, "")


def test_bases_are_taken_by_digest(rendered, cpu):
    assert rendered.base.endswith(cpu.base.digest)
    assert rendered.ship.endswith(cpu.base.shipped.digest)
    assert rendered.base != rendered.ship
    assert "@sha256:" in rendered.ship


def test_a_tag_is_what_plans_give(rendered):
    assert rendered.tag == "heteropd/cpu:standin-base"


def test_labels_say_what_it_is_made_of(rendered):
    labels = rendered.labels
    assert labels["io.heteropd.locked"] == "true"
    assert "io.heteropd.unlocked" not in labels
    assert (labels["io.heteropd.pins"], labels["io.heteropd.variant"]) == ("standin", "base")
    assert labels["io.heteropd.inputs"].startswith("sha256:")


def test_labels_of_an_accelerators_pin_set_name_commits(env):
    choice = recipe.choose("router", "doc-2025-12", "decode-post-process", env)
    choice = replace(
        choice, spec=choice.spec.model_copy(update={"sources": ["vllm"], "optional_sources": []})
    )
    made = recipe.render(choice, env, ROOT, {})
    assert made.labels["io.heteropd.source.vllm"] == choice.pins.sources["vllm"].commit
    picks = [one.commit for one in choice.variant.picks]
    assert made.labels["io.heteropd.picks"].split() == picks


def test_a_base_by_hand_is_not_locked(cpu, env):
    made = recipe.render(cpu, env, ROOT, {}, base="mine:1")
    assert (made.base, made.ship) == ("mine:1", "mine:1")
    assert made.labels["io.heteropd.locked"] == "false"
    assert made.labels["io.heteropd.unlocked"] == "command line: base"


def test_an_open_pin_is_refused_with_the_command_that_resolves_it(cpu, env):
    made = recipe.render(opened(cpu), env, ROOT, {})
    with pytest.raises(BadInput) as refused:
        build.require_locked([made], Options())
    said = str(refused.value)
    assert said.startswith("env/pins/standin.yaml: images.cpu.digest: is not pinned")
    assert "docker buildx imagetools inspect python:3.11" in said
    assert "\n" not in said
    assert refused.value.exit_code == 2


def test_an_open_pin_is_built_on_request_and_labelled(cpu, env):
    made = recipe.render(opened(cpu), env, ROOT, {})
    build.require_locked([made], Options(unlocked=True))
    assert made.labels["io.heteropd.locked"] == "false"
    assert "images.cpu.digest" in made.labels["io.heteropd.unlocked"]


def test_an_open_commit_of_a_variant_is_refused(env):
    choice = recipe.choose("router", "doc-2025-12", "prefill-process", env)
    pick = choice.variant.picks[0].model_copy(update={"commit": UNRESOLVED, "resolve": "git ls-remote x"})
    choice = replace(
        choice,
        spec=choice.spec.model_copy(update={"sources": ["vllm"], "optional_sources": []}),
        variant=choice.variant.model_copy(update={"picks": [pick]}),
    )
    assert [one.where for one in recipe.unresolved(choice)] == [
        "env/pins/doc-2025-12.yaml: variants.prefill-process.picks.0.commit"
    ]


@pytest.mark.parametrize(
    ("image", "pins", "variant", "said"),
    [
        ("cpu", "nowhere", None, "no such pins"),
        ("cpu", None, "nothing", "no such variant"),
        ("cpu", "doc-2025-12", None, "no such base image"),
    ],
)
def test_names_that_lead_nowhere(image, pins, variant, said, env):
    with pytest.raises(BadInput, match=said):
        recipe.choose(image, pins, variant, env)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "command line: image: missing; name one or more of: .*cpu"),
        (["gpu"], "command line: image: 'gpu': no such image; one of cuda, gaudi, cpu, router"),
    ],
)
def test_words_that_are_refused(words, said, env):
    with pytest.raises(BadInput, match=said):
        command.chosen(words, None, None, env)


def test_an_image_named_twice_is_built_once(env):
    chosen = command.chosen(["cpu", "router", "cpu"], None, None, env)
    assert [one.image for one in chosen] == ["cpu", "router"]


def test_inputs_follow_every_file_that_decides(tmp_path, env):
    for folder in ("docker", "env"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for package in ("heteropd/doctor", "heteropd_engine", "heteropd_engine/__pycache__"):
        (tmp_path / "scripts" / package).mkdir(parents=True)
        (tmp_path / "scripts" / package / "module.py").write_text("1\n")
    choice = recipe.choose("cpu", None, None, env)

    def inputs():
        return recipe.render(choice, env, tmp_path, {}).labels["io.heteropd.inputs"]

    seen = [inputs()]
    for name in (
        "docker/cpu/Dockerfile",
        "env/locks/torch-cpu.txt",
        "docker/common/seal.sh",
        "scripts/heteropd_engine/module.py",
    ):
        with (tmp_path / name).open("a") as stream:
            stream.write("# changed\n")
        seen.append(inputs())
    (tmp_path / "docker/router/Dockerfile").write_text("FROM scratch\n")
    assert inputs() == seen[-1], "another image's file decides nothing here"
    for name in ("heteropd/doctor/module.py", "heteropd_engine/__pycache__/module.py"):
        (tmp_path / "scripts" / name).write_text("2\n")
        assert inputs() == seen[-1], "an edit of the controller changes no image"
    assert len(set(seen)) == len(seen)


def test_a_mirrors_password_is_in_a_file_and_nowhere_else(rendered, env):
    with context.site_of_machine({"index-url": [INDEX]}, {}) as here:
        file = here.secrets["site"]
        assert PASSWORD in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert PASSWORD not in json.dumps(bake.render([rendered], env.images, here, Options()))
    assert not file.exists()


def test_a_build_is_not_told_of_this_machines_folders():
    assert context.variables({"index-url": ["/srv/wheels"], "extra-index-url": ["file:///srv"]}) == {}
    found = context.variables({"index-url": [INDEX]})
    assert found == {"PIP_INDEX_URL": INDEX, "UV_DEFAULT_INDEX": INDEX}


def test_wheels_are_a_folder_that_pip_names(tmp_path):
    options = {"find-links": ["https://a.example", str(tmp_path)]}
    with context.site_of_machine(options, {"SSL_CERT_FILE": str(tmp_path / "none")}) as here:
        assert here.wheels == tmp_path
        assert "ca" not in here.secrets


@pytest.mark.parametrize(
    ("said", "kind", "fix"),
    [
        ("failed to solve: write /x: no space left on device", BadInput, "docker buildx prune"),
        ("denied: requested access to the resource is denied", BadInput, "docker login"),
        ("http: server gave HTTP response to HTTPS client", BadInput, "insecure-registries"),
        ("manifest unknown: manifest tagged by x is not found", BadInput, "make lock"),
        ("dial tcp 10.0.0.1:443: connect: connection refused", BadInput, "check the network"),
        ("error: Hash mismatch for `httpx==0.28.1`", BadInput, "find out who changed it"),
        ("ERROR: vllm/x.abi3.so is native code: a tree may bring Python files only", BadInput, "part.vllm="),
        ("0.4 ERROR: the tree has no vllm/__init__.py", BadInput, "names a tree of that project"),
        ("ERROR: part.ucx has no lib/*.so: it must be an installed prefix", BadInput, "images-stages.md"),
        ("process did not complete: exit code: 3", KitError, "exit code: 3"),
    ],
)
def test_what_an_engine_says_becomes_one_line_with_a_mend(said, kind, fix):
    problem = docker_host.explained("build of cpu", f"first line\n{said}\n")
    assert type(problem) is kind
    assert str(problem).startswith("build of cpu: ")
    assert fix in str(problem)
    assert "\n" not in str(problem)


def test_no_engine_is_one_line():
    with pytest.raises(
        MissingPrerequisite, match=r"no container engine answers at unix:///nowhere.*DOCKER_HOST"
    ):
        docker_host.connect(url="unix:///nowhere/docker.sock")


@pytest.mark.parametrize(
    ("version", "good"), [("22.9.9", False), ("23.0", True), ("26.1.5+dfsg1", True), ("9", False)]
)
def test_an_engine_that_is_too_old(version, good):
    if good:
        docker_host.require_at_least("Docker", version, "23.0")
    else:
        with pytest.raises(MissingPrerequisite, match=rf"Docker {version} is too old; 23.0 or newer"):
            docker_host.require_at_least("Docker", version, "23.0")


@pytest.mark.parametrize(
    ("runner", "said"),
    [
        (Says(code=1), "docker buildx is missing"),
        (Says(out="github.com/docker/buildx v0.9.1 abc"), "docker buildx 0.9.1 is too old"),
    ],
)
def test_buildx_is_missing_or_too_old(runner, said, env):
    with pytest.raises(MissingPrerequisite, match=said):
        docker_host.require_buildx(runner, env.images.engine)


def test_buildx_that_is_new_enough(env):
    docker_host.require_buildx(Says(out="github.com/docker/buildx 0.13.1 abc"), env.images.engine)
