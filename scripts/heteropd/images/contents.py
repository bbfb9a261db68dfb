"""What is in an image, read from it after a build: .heteropd/manifests/IMAGE-PINS-VARIANT.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docker import DockerClient

from heteropd.containers import docker_host
from heteropd.errors import KitError
from heteropd.images.contents_compare import differences
from heteropd.images.contents_expected import by_hand, expected
from heteropd.images.context import BuildContext
from heteropd.images.recipe import LABEL, Choice, Recipe, choose

PROGRAM = "heteropd-inventory"
_LIMIT_S = 90
_MB = 1e6


def judge(recipes: Sequence[Recipe], shop: BuildContext) -> bool:
    """Read the images that were just built, write their manifests, and say where they differ from env/.

    False when one differs. Raises KitError when an image cannot be read.
    """
    differ = [f"{one.tag}: {line}" for one in recipes for line in check(one, shop)]
    for line in differ:
        shop.say(f"differs: {line}")
    return not differ


def check(made: Recipe, shop: BuildContext) -> list[str]:
    """Differences of one image, which also stand in the manifest that this writes."""
    choice = choose(made.image, made.labels[f"{LABEL}.pins"], made.labels[f"{LABEL}.variant"], shop.env)
    before = kept(path(choice, shop.root))
    client = docker_host.connect()
    try:
        found = read(client, made.tag, shop.env.images.epoch, before)
    finally:
        client.close()
    given = by_hand(found["config"]["labels"])
    lines = differences(found, expected(choice, shop.env, shop.root, given))
    write({**found, "differences": lines}, path(choice, shop.root))
    return lines


def path(choice: Choice, root: Path) -> Path:
    """Where the manifest of an image is kept."""
    name = f"{choice.image}-{choice.pins_name}-{choice.variant_name}.json"
    return root / ".heteropd" / "manifests" / name


def kept(file: Path) -> dict[str, Any]:
    """The manifest that an earlier build wrote; empty without one that can be read."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(made: dict[str, Any], to: Path) -> None:
    """Write it whole or not at all; the same image gives the same bytes."""
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_suffix(".part")
    part.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n")
    part.replace(to)


def read(
    client: DockerClient, ref: str, epoch: int, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The manifest of an image. ``epoch``: the time of layers that the kit adds. Raises KitError.

    ``before``: an earlier manifest. Where its id is this image's, so is its inventory: an id is a digest of
    everything in the image, and a build that changed nothing should not cost seconds.
    """
    with docker_host.reported(f"manifest of {ref}"):
        image = client.images.get(ref)
        # One that differed is asked again: a slow machine may have kept an agent from starting.
        good = before is not None and "inventory" in before and before.get("differences") == []
        same = good and before is not None and before.get("id") == image.id
        # The newest layer is first; one entry of the history may be no layer at all, of size 0.
        layers = [
            {
                "mb": round(one["Size"] / _MB, 3),
                "by": one["CreatedBy"][:120],
                "added": one["Created"] == epoch,
            }
            for one in image.history()
            if one["Size"]
        ]
        return {
            "image": ref,
            "id": image.id,
            "config": config(image.attrs["Config"]),
            "layers": layers,
            "total_mb": round(sum(one["mb"] for one in layers), 1),
            "added_mb": round(sum(one["mb"] for one in layers if one["added"]), 1),
            "inventory": before["inventory"] if before and same else inventory(client, ref),
        }


def config(attributes: dict[str, Any]) -> dict[str, Any]:
    """An image's or a container's ``Config``, as checks want it."""
    health = attributes.get("Healthcheck") or {}
    return {
        "user": attributes.get("User") or "",
        "entrypoint": attributes.get("Entrypoint") or [],
        "command": attributes.get("Cmd") or [],
        "healthcheck": health.get("Test") or [],
        "stop_signal": attributes.get("StopSignal") or "",
        "env": dict(one.split("=", 1) for one in attributes.get("Env") or [] if "=" in one),
        "labels": attributes.get("Labels") or {},
    }


def inventory(client: DockerClient, ref: str) -> dict[str, Any]:
    """Run the inventory in a container without a network, and take it away. Raises KitError."""
    with docker_host.reported(f"inventory of {ref}"):
        container = client.containers.create(
            ref, [PROGRAM], entrypoint=[], network_mode="none", labels={f"{LABEL}.inventory": "1"}
        )
        try:
            container.start()
            status = container.wait(timeout=_LIMIT_S)["StatusCode"]
            out = container.logs(stdout=True, stderr=False).decode(errors="replace")
            said = container.logs(stdout=False, stderr=True).decode(errors="replace")
        finally:
            container.remove(force=True)
    return parse(ref, status, out, said)


def parse(ref: str, status: int, out: str, said: str) -> dict[str, Any]:
    """What the program printed. Raises KitError when that is no inventory."""
    try:
        found = json.loads(out) if status == 0 else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or "packages" not in found:
        last = (said.strip() or out.strip() or "no output").splitlines()[-1][:200]
        raise KitError(f"inventory of {ref}: {PROGRAM} ended with status {status} and said: {last}")
    return found
