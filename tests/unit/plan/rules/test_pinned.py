"""Rules about what a pin set says."""

from __future__ import annotations

from pathlib import Path

from rule_sides import DOC, ENV, NEWEST, REL, Edit, Given, Sides, each_side, judge, pins, standin

from heteropd.plan.rules import pinned

NO_TAG = {
    name: source.model_copy(update={"follows": None})
    for name, source in ENV.accelerator_pins[NEWEST].sources.items()
}
BASE_UNRESOLVED = {
    key: image.model_copy(update={"digest": "sha256:" + "0" * 64, "resolve": None})
    for key, image in ENV.accelerator_pins[DOC].images.items()
}
NO_PLUGIN = {k: v for k, v in ENV.accelerator_pins[DOC].sources.items() if k != "vllm-gaudi"}


def nixl(name: str, platform: str, version: str) -> Edit:
    old = ENV.accelerator_pins[name].nixl
    entry = old[platform].model_copy(update={"version": version})  # type: ignore[index]
    return pins(name, nixl={**old, platform: entry})


SIDES: Sides = {
    "P02-nixl-pinned": [(Given("case1", edit=nixl(DOC, "gaudi", "unresolved")), Given("case1"))],
    "P03-nixl-versions": [
        (Given("case1", edit=nixl(DOC, "gaudi", "1.0.0")), Given("case1", edit=nixl(DOC, "gaudi", "0.7.9"))),
    ],
    "P27-plugin-pair": [
        (Given("case1", edit=pins(DOC, sources=NO_PLUGIN)), Given("case1")),
        (Given(f"case1 pins={NEWEST}", edit=pins(NEWEST, sources=NO_TAG)), Given(f"case1 pins={NEWEST}")),
    ],
    "P37-base-digest": [(Given("case1"), Given(f"case1 pins={REL}"))],
    "P38-digest-confirmed": [(Given("case1"), Given("case1", edit=pins(DOC, images=BASE_UNRESOLVED)))],
    "P40-unresolved-source": [
        (Given("case2"), Given(f"case2 pins={REL}")),
        (Given(f"case1 pins={NEWEST}"), Given(f"case1 pins={REL}")),
    ],
    "P71-one-release": [
        (standin("case1 standin=gaudi", pins("v0.30", vllm="0.29.0")), standin("case1 standin=gaudi")),
    ],
}


@each_side(pinned, SIDES)
def test_rule(rule: str, broken: Given, kept: Given, tmp_path: Path) -> None:
    judge(rule, broken, kept, tmp_path)
