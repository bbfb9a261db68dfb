"""images=FILE: a plan whose containers are published images, by digest."""

from pathlib import Path

import pytest
import yaml

from heteropd.config.machine import Machine
from heteropd.errors import BadInput
from plan_words import make

ROOT = Path(__file__).parents[3]
DIGEST = "sha256:" + "ab" * 32
MACHINE = Machine(cores=[0, 1])


def write(folder, **changes):
    images = {
        name: {
            "ref": f"registry.example/pd/{name}@{DIGEST}",
            "tag": f"registry.example/pd/{name}:standin-base",
        }
        for name in ("cpu", "router")
    }
    file = folder / "published.yaml"
    file.write_text(yaml.safe_dump({"pins": "standin", "variant": "base", "images": images} | changes))
    return file


def plan(file, *words):
    return make(["case1", f"images={file}", *words], ROOT, MACHINE)


def test_containers_are_the_published_images(tmp_path):
    roles = plan(write(tmp_path), "runtime=docker").roles
    assert [role.container.image for role in roles] == [
        f"registry.example/pd/{name}@{DIGEST}" for name in ("cpu", "cpu", "router")
    ]


@pytest.mark.parametrize(
    ("changes", "words", "says"),
    [
        ({}, [], "is for containers, and runtime is process; add runtime=docker"),
        ({"pins": "v0.26"}, ["runtime=docker"], "pins: 'v0.26': the plan is for 'standin'"),
        ({"images": {}}, ["runtime=docker"], "has no image for 'cpu'"),
        (
            {"images": {"cpu": {"ref": "registry.example/cpu:latest", "tag": "x"}}},
            ["runtime=docker"],
            "images.cpu.ref: 'registry.example/cpu:latest'",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, changes, words, says):
    with pytest.raises(BadInput) as refused:
        plan(write(tmp_path, **changes), *words)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
