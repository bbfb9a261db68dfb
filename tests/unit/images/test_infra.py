"""`make infra`: which suites run on which container, and what is refused before anything starts."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.cli.main import main
from heteropd.config import env as room
from heteropd.errors import EXIT_BAD_INPUT, MissingPrerequisite
from heteropd.images import infra, recipe, suites
from heteropd.images.context import BuildContext

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def shop():
    return BuildContext(ROOT, room.load(ROOT), Console(file=io.StringIO()))


def test_the_suites_of_an_image(shop):
    test = infra.ImageTest("router", strict=True, junit="out.xml")
    words = infra.argv(recipe.choose("router", "v0.26", None, shop.env), "eager_euler", test)
    assert "--hosts=docker://eager_euler" in words
    assert {"--image=router", "--pins=v0.26", "--variant=base", "--strict-facts"} <= set(words)
    assert "--junit-xml=out.xml" in words
    assert words[-2:] == ["tests/infra/common", "tests/infra/router"]


@pytest.mark.parametrize("image", ["cpu", "router", "cuda", "gaudi"])
def test_every_image_has_suites(image):
    for suite in ("common", image):
        assert list((ROOT / suites.FOLDER / suite).glob("test_*.py"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["image_ref=a:b"], "command line: image: missing; name one of: "),
        (["image=gpu"], "command line: image: 'gpu': no such image; did you mean 'cpu'?"),
        (["--image", "cpu", "extra=1"], "command line: 'extra=1': unknown parameter"),
        (["cpu", "port=1"], "command line: port: does not go with the test of an image"),
        (["cpu", "--image", "router"], "command line: cpu: does not go with the test of an image"),
        (["cpu", "--running"], "command line: running: does not go with the test of an image"),
        (["cpu", "variant=x"], "command line: variant: 'x': no such variant"),
        (["cpu", "pins=x"], "command line: pins: 'x': no such pins"),
    ],
)
def test_words_that_are_refused(words, said, capsys):
    assert main(["infra", *words]) == EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith(f"heteropd: {said}")


def test_an_engine_that_does_not_answer_is_one_line(shop, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(MissingPrerequisite, match="no container engine answers"):
        infra.run(infra.ImageTest("cpu"), shop)


def test_an_environment_without_testinfra_is_one_line(shop, monkeypatch):
    monkeypatch.setattr(suites.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingPrerequisite, match=r"testinfra is not in this environment; run `make infra`"):
        infra.run(infra.ImageTest("cpu"), shop)
