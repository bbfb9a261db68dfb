"""What is in an image, read from it after a build: .heteropd/contents/IMAGE-PINS-VARIANT.json."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from docker import DockerClient

from heteropd.containers import docker_host
from heteropd.errors import KitError
from heteropd.findings import Finding
from heteropd.images.contents_compare import compare
from heteropd.images.contents_expected import by_hand, expected
from heteropd.images.context import BuildContext
from heteropd.images.recipe import LABEL, Choice, Recipe, choose
from heteropd.system import write_whole

PROGRAM = "heteropd-inventory"
_LIMIT_S = 90
_MB = 1e6


def judge(recipes: Sequence[Recipe], context: BuildContext) -> list[Finding]:
    """Read the images that were just built, and say where they differ from env/.

    Raises KitError when an image cannot be read.
    """
    findings = []
    with closing(docker_host.connect()) as client:
        for recipe in recipes:
            findings += _judge(recipe, client, context)
    return findings


def _judge(recipe: Recipe, client: DockerClient, context: BuildContext) -> list[Finding]:
    """Differences of one image, which also stand in the file that this writes."""
    labels = recipe.labels
    choice = choose(recipe.image, labels[f"{LABEL}.pins"], labels[f"{LABEL}.variant"], context.env)
    file = path(choice, context.root)
    contents = read(client, recipe.tag, context.env.images.epoch, kept(file))
    given = by_hand(contents["config"]["labels"])
    findings = compare(contents, expected(choice, context.env, context.root, given))
    write({**contents, "differences": [finding.text for finding in findings]}, file)
    return findings


def path(choice: Choice, root: Path) -> Path:
    """Where the contents of an image are kept."""
    name = f"{choice.image}-{choice.pins_name}-{choice.variant_name}.json"
    return root / ".heteropd" / "contents" / name


def kept(file: Path) -> dict[str, Any]:
    """What an earlier build wrote; empty without a file that can be read."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(made: dict[str, Any], to: Path) -> None:
    """Write it whole or not at all; the same image gives the same bytes."""
    write_whole(to, json.dumps(made, indent=2, sort_keys=True) + "\n")


def read(
    client: DockerClient, ref: str, epoch: int, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The contents of an image. ``epoch``: the time of layers that the kit adds. Raises KitError.

    ``before``: what an earlier build wrote. Where its layers and settings are this image's, so is its
    inventory: a build that changed nothing should not cost seconds.
    """
    with docker_host.reported(f"contents of {ref}"):
        image = client.images.get(ref)
        made_of = {"layers": image.attrs["RootFS"]["Layers"], "config": config(image.attrs["Config"])}
        # The newest layer is first; one entry of the history may be no layer at all, of size 0.
        layers = [
            {
                "mb": round(layer["Size"] / _MB, 3),
                "by": layer["CreatedBy"][:120],
                "added": layer["Created"] == epoch,
            }
            for layer in image.history()
            if layer["Size"]
        ]
    # One that differed is looked into again: a slow machine may have kept an agent from starting.
    good = before is not None and "inventory" in before and before.get("differences") == []
    same = good and before is not None and made_of == {key: before.get(key) for key in made_of}
    return {
        "image": ref,
        "id": image.id,
        **made_of,
        "history": layers,
        "total_mb": round(sum(layer["mb"] for layer in layers), 1),
        "added_mb": round(sum(layer["mb"] for layer in layers if layer["added"]), 1),
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
        "env": dict(pair.split("=", 1) for pair in attributes.get("Env") or [] if "=" in pair),
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
            err = container.logs(stdout=False, stderr=True).decode(errors="replace")
        finally:
            container.remove(force=True)
    return parse(ref, status, out, err)


def parse(ref: str, status: int, out: str, err: str) -> dict[str, Any]:
    """What the program printed. Raises KitError when that is no inventory."""
    try:
        found = json.loads(out) if status == 0 else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or "packages" not in found:
        last = (err.strip() or out.strip() or "no output").splitlines()[-1][:200]
        raise KitError(f"inventory of {ref}: {PROGRAM} ended with status {status} and said: {last}")
    return found
