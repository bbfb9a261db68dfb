"""The bake file: what is shared, what each image gets, and how a build is watched."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.config import env as room
from heteropd.errors import BadInput, KitError
from heteropd.images import bake, build, command, recipe
from heteropd.images.bake import Options
from heteropd.images.context import BuildContext, Site

ROOT = Path(__file__).parents[3]
ENV = room.load(ROOT)
HERE = Site({"site": Path("/run/site")}, Path("/srv/wheels"))


def recipes(*images, base=None):
    choices = [recipe.choose(image, None, None, ENV) for image in images]
    return [recipe.render(choice, ENV, ROOT, {}, base=base) for choice in choices]


def rendered(*images, base=None, options=None):
    return bake.render(recipes(*images, base=base), ENV.images, HERE, options or Options())


def test_images_of_one_base_share_their_tools_and_programs():
    file = rendered("cpu", "router")
    assert list(file["target"]) == ["cpu-tools", "cpu-account", "cpu", "router"]
    assert file["group"]["default"]["targets"] == ["cpu", "router"]
    for image in ("cpu", "router"):
        contexts = file["target"][image]["contexts"]
        assert contexts == {
            "tools": "target:cpu-tools", "programs": "target:cpu-account", "wheels": "/srv/wheels"
        }  # fmt: skip
    assert len(rendered("cpu", "gaudi")["target"]) == 7, "another base, another user, and system packages"


def test_every_argument_is_read_by_its_dockerfile():
    """And every one that a Dockerfile asks for without a default is given."""
    file = rendered("cuda", "gaudi", "cpu", "router")
    generator = bake.render_generator(recipes("cpu")[0], ENV.images, HERE, Options())
    for name, target in [*file["target"].items(), *generator["target"].items()]:
        text = (ROOT / target["dockerfile"]).read_text()
        asked = set(re.findall(r"^ARG (\w+)$", text, re.MULTILINE))
        assert set(target["args"]) <= asked, name
        if target["dockerfile"] != "docker/common/Dockerfile":
            assert set(target["args"]) == asked, name


def test_an_image_is_attested_and_what_it_is_built_on_is_not():
    file = rendered("cpu")
    assert file["target"]["cpu"]["attest"] == [
        "type=provenance,mode=max", "type=sbom,generator=heteropd-sbom:local"
    ]  # fmt: skip
    assert file["target"]["cpu-tools"]["output"] == ["type=cacheonly"]
    without = rendered("cpu", options=Options(attest=False))
    assert without["target"]["cpu"]["attest"] == ["type=provenance,disabled=true"]


def test_options_reach_every_target():
    file = rendered("cpu", options=Options(no_cache=True, offline=True, cache="registry.example/cache"))
    assert all(target["no-cache"] and target["network"] == "none" for target in file["target"].values())
    image = file["target"]["cpu"]
    assert image["cache-to"] == ["type=registry,ref=registry.example/cache/cpu,mode=max"]
    assert image["secret"] == ["id=site,src=/run/site"]
    assert image["args"]["SOURCE_DATE_EPOCH"] == str(ENV.images.epoch)
    assert image["output"] == [
        "type=image,name=heteropd/cpu:standin-base,compression=zstd,oci-mediatypes=true"
    ]


def test_the_plan_is_printed_and_nothing_is_built(capsys, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    context = BuildContext(ROOT, ENV, Console(file=io.StringIO()))
    choices = command.chosen(["cpu", "router"], None, None, ENV)
    assert command.run(command.BuildRequest(choices, print_only=True), context) == 0
    file = json.loads(capsys.readouterr().out)
    assert file["group"]["default"]["targets"] == ["cpu", "router"]
    secrets = {secret for target in file["target"].values() for secret in target["secret"]}
    assert not any("id=site" in secret for secret in secrets), "it may hold a password, and is gone by now"


LOG = """\
#0 building with "default" instance using docker driver

#12 [cpu build 2/4] RUN --mount=type=bind,source=docker/common,target=/common bash /common/install.sh
#12 0.402 error: something
#13 [router build 2/3] RUN make
#17 [router] exporting to image
#17 exporting layers 0.0s done
#17 DONE 2.1s
"""
FAILURE = """\
------
 > [cpu build 2/4] RUN bash /torch.sh:
0.123 looking
0.200 ERROR: torch was replaced: the base has A, the image would have B
------
Dockerfile:30
--------------------
  30 | >>> RUN bash /torch.sh
--------------------
ERROR: target cpu: failed to solve: process "bash /torch.sh" did not complete successfully: exit code: 2
"""


def test_the_log_says_how_far_each_image_is():
    seen = build.BuildLog()
    lines = LOG.splitlines()
    seen.read(lines[:4])
    seen.read(lines[4:])
    assert seen.steps == {"cpu": "RUN bash /common/install.sh", "router": "exporting to image"}
    assert seen.exported == {"router"}


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Call it with a shell script: a context whose docker is that."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def make(text):
        program.write_text(f"#!/bin/sh\n{text}")
        program.chmod(0o755)
        return BuildContext(tmp_path, ENV, Console(file=io.StringIO(), width=200))

    return make


FILE = {"group": {"default": {"targets": ["cpu", "router"]}}, "target": {}}


def test_a_build_that_works(tmp_path, docker):
    context = docker(f'echo "$@" > {tmp_path}/argv\ncat <<"E"\n{LOG}\nE\n')
    assert build.run("build", FILE, context) >= 0
    argv = (tmp_path / "argv").read_text().split()
    assert argv[:3] == ["buildx", "bake", "--progress=plain"]
    assert json.loads(Path(argv[-1]).read_text()) == FILE
    assert "router (docker/router): built" in context.console.file.getvalue()


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [
        (FAILURE, KitError, "build of cpu (log: .*torch was replaced: the base has A"),
        (FAILURE.replace("looking", "No space left on device"), BadInput, "Docker's disk is full"),
        (FAILURE.replace("torch was", "vllm/x.so is native code"), BadInput, "the tree cannot be used"),
        ("ERROR: no such bake file\n", KitError, "build of images (log: .*no such bake file"),
    ],
)
def test_a_build_that_fails_ends_with_the_step_and_one_line(failure, kind, text, docker, capsys):
    context = docker(f'cat <<"E"\n{LOG}{failure}\nE\nexit 1\n')
    with pytest.raises(KitError) as stop:
        build.run("build", FILE, context)
    assert type(stop.value) is kind
    assert re.search(text.replace("(log", r"\(log"), str(stop.value)), str(stop.value)
    assert "\n" not in str(stop.value)
    if failure == FAILURE:
        assert "0.200 ERROR: torch was replaced" in capsys.readouterr().out
        assert "failed to solve" not in str(stop.value), "what the step says is more than its exit status"


COMMAND = """
import io, sys
from pathlib import Path
from rich.console import Console
from heteropd.config import env
from heteropd.images import build
from heteropd.images.context import BuildContext
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
context = BuildContext(Path({folder!r}), env.load(Path({root!r})), Console(file=io.StringIO()))
build.run("build", {file!r}, context)
"""


def test_an_interrupt_ends_the_build(tmp_path, docker):
    docker(f"echo $$ > {tmp_path}/pid\nexec sleep 600\n")
    code = COMMAND.format(file=FILE, folder=str(tmp_path), root=str(ROOT))
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as started:
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pid = (tmp_path / "pid").read_text().strip()
        time.sleep(1)
        started.send_signal(signal.SIGINT)
        started.wait(60)
    assert not Path(f"/proc/{pid}").exists()
