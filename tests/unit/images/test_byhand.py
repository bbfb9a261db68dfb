"""Sources and locks that a user gives by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from heteropd.config import env as specs
from heteropd.errors import BadInput
from heteropd.images import byhand, recipe
from heteropd.images.recipe import Choice
from plan_words import arguments

ROOT = Path(__file__).parents[3]
ENV = specs.load(ROOT)


@pytest.fixture
def choice() -> Choice:
    found = recipe.choose("router", "doc-2025-12", "base", ENV)
    spec = found.spec.model_copy(update={"sources": ["vllm-gaudi"], "optional_sources": []})
    return Choice("router", "doc-2025-12", "base", spec, found.pins, found.variant, found.base)


def given(*words: str) -> byhand.ByHand:
    found = arguments("build", *words)
    return byhand.by_hand(found["source"], found["part"], found["lock"], ROOT)


def test_what_words_give(tmp_path: Path) -> None:
    words = ["cuda", f"source.nixl={tmp_path}", f"part.ucx={tmp_path}", "--part.nixl", str(tmp_path)]
    part = byhand.GivenPart(str(tmp_path))
    expected = byhand.ByHand({"nixl": tmp_path}, {"ucx": part, "nixl": part}, "env/locks/router.txt")
    assert given(*words, "--lock=env/locks/router.txt", "pins=x") == expected


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("source.ucx=/none", r"source\.ucx: '/none': is not a folder; source\.ucx=FOLDER"),
        ("lock=none.txt", r"lock: 'none\.txt': no such file"),
        ("lock=/etc/passwd", r"lock: '/etc/passwd': lies outside of env/locks"),
    ],
)
def test_what_is_not_there_is_one_line(word: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        given(word)


def test_a_source_that_no_image_has(choice: Choice, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"source\.nixl: .*no such source; known: vllm-gaudi"):
        byhand.require_used(byhand.ByHand({"nixl": tmp_path}), [choice])
    byhand.require_used(byhand.ByHand({"vllm-gaudi": tmp_path}), [choice])


def test_one_lock_is_for_one_image(choice: Choice) -> None:
    with pytest.raises(BadInput, match=r"lock: 'a\.txt': is for one image"):
        byhand.require_used(byhand.ByHand(lock="a.txt"), [choice, choice])


def test_a_bundle_takes_nothing_by_hand(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"source\.vllm: a bundle brings every input"):
        byhand.require_none(byhand.ByHand({"vllm": tmp_path}))
    byhand.require_none(byhand.ByHand())


def test_the_image_is_labelled(choice: Choice, tmp_path: Path) -> None:
    given = byhand.ByHand({"vllm-gaudi": tmp_path}, lock="env/locks/nox.txt")
    plain = recipe.render(choice, ENV, ROOT, given.of(choice))
    assert "io.heteropd.source.vllm-gaudi" in plain.labels
    made = byhand.applied(plain, given, choice)
    assert made.contexts == {"vllm-gaudi": str(tmp_path)}
    assert made.build_args["LOCK"] == "env/locks/nox.txt"
    assert made.labels["io.heteropd.locked"] == "false"
    assert "command line: source.vllm-gaudi, command line: lock" in made.labels["io.heteropd.unlocked"]
    assert "io.heteropd.source.vllm-gaudi" not in made.labels, (
        "it would name a commit that is not in the image"
    )


def test_nothing_by_hand_changes_nothing(choice: Choice) -> None:
    plain = recipe.render(choice, ENV, ROOT, {})
    assert byhand.applied(plain, byhand.ByHand(), choice) is plain


def test_a_part_that_no_image_takes(choice: Choice, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"part\.ucx: .*no such part; known: none"):
        byhand.require_used(byhand.ByHand(parts={"ucx": byhand.GivenPart(str(tmp_path))}), [choice])
