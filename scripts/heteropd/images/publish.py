"""`make publish`: pushes images, with what BuildKit testifies of them, under tags that never change."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from docker import DockerClient
from docker.errors import ImageNotFound
from docker.models.images import Image

from heteropd.config import yamlfile
from heteropd.config.images import Published, PublishedImage
from heteropd.console.progress import Progress, Row
from heteropd.containers import docker_host
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.images import imagetools, recipe
from heteropd.images.build import HEARTBEAT_S
from heteropd.images.context import BuildContext
from heteropd.images.imagetools import RegistryImage
from heteropd.images.recipe import LABEL, Choice
from heteropd.system import write_whole

_SIGN_TIMEOUT_S = 300.0
_DESTINATION = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(:\d+)?|\[[0-9a-f:]+\](:\d+)?)/(?P<namespace>[a-z0-9][a-z0-9._/-]*[a-z0-9])"
)
# Of an image's settings; registries are asked in OCI's terms, which know no health check.
_CONFIG = ("Env", "Cmd", "Entrypoint", "User", "WorkingDir", "Labels", "StopSignal")


@dataclass(frozen=True)
class PublishOptions:
    """``registry``: HOST/NAMESPACE; ``sign``: the program that signs; ``dry_run``: only say what would be."""

    registry: str | None
    sign: str | None = None
    unlocked: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Item:
    """One image to publish. ``present``: what its tag is in the registry already, with this content."""

    choice: Choice
    image: Image
    repository: str
    tag: str
    present: RegistryImage | None

    @property
    def target(self) -> str:
        return f"{self.repository}:{self.tag}"


def run(
    choices: Sequence[Choice], options: PublishOptions, context: BuildContext
) -> dict[str, PublishedImage]:
    """Publish images; what to run, by image. Every image is judged before the first is pushed.

    Raises BadInput for an image that is not built or not locked, and for a tag that has other content there;
    MissingPrerequisite without an engine, attestations or signer; KitError for what a registry says.
    """
    _require_signer(options.sign)
    repository = destination(options.registry)
    with closing(docker_host.connect(context.env.images.engine)) as client:
        imagetools.require_attestations(client)
        items = [_item(choice, repository, options.unlocked, client, context) for choice in choices]
        if options.dry_run:
            for item in items:
                context.say(f"{item.target}: {'is already there' if item.present else 'would be pushed'}")
            return {}
        done = {}
        for item in items:
            done[str(item.choice.image)] = _publish(item, client, context)
            if options.sign:
                _sign(done[str(item.choice.image)].ref, context)
    for item in items:
        choice, image = item.choice, str(item.choice.image)
        new = Published(pins=choice.pins_name, variant=choice.variant_name, images={image: done[image]})
        file = record(context.root, item.tag, new)
        context.say(f"{item.target} is {done[image].ref} ({file.relative_to(context.root)})")
    return done


def destination(word: str | None) -> str:
    """``registry=HOST/NAMESPACE`` as it is. Raises BadInput where one of the two is missing."""
    fix = "registry=HOST/NAMESPACE, such as ghcr.io/my-team/heteropd or 127.0.0.1:5000/heteropd"
    if word is None:
        raise BadInput("command line", "registry", None, "missing", fix)
    found = _DESTINATION.fullmatch(word)
    if found is None or not re.search(r"[.:]|^localhost$", found["host"]):
        raise BadInput("command line", "registry", word, "names no registry and namespace", fix)
    return word


def require_publishable(labels: Mapping[str, str], local: str, *, unlocked: bool) -> str:
    """What the tag ends with: nothing, or '-unlocked' where that was asked for. Raises BadInput."""
    locked = labels.get(f"{LABEL}.locked")
    if locked is None:
        raise BadInput(local, None, None, "is not an image of the kit", "build it with make build")
    if locked == "true":
        return ""
    if unlocked:
        return "-unlocked"
    still_open = labels.get(f"{LABEL}.unlocked", "an input")
    fix = "pin it (make lock) and build anew, or publish with unlocked=1 under a tag that says so"
    raise BadInput(local, None, None, f"was built with {still_open} not pinned", fix)


def same_content(local: Mapping[str, Any], remote: RegistryImage) -> bool:
    """Whether an engine's image (``attrs``) is the one in the registry: layers and settings.

    Digests of two builds differ although nothing else does: what BuildKit testifies has times in it.
    """
    configs = (local["Config"], remote.config)
    ours, theirs = ({key: config[key] for key in _CONFIG if config.get(key)} for config in configs)
    return bool(local["RootFS"]["Layers"] == remote.layers and ours == theirs)


def _item(choice: Choice, to: str, unlocked: bool, client: DockerClient, context: BuildContext) -> Item:
    local = recipe.tag(choice, context.env)
    with docker_host.reported(local):
        try:
            image = client.images.get(local)
        except ImageNotFound:
            named = f"images={choice.image} pins={choice.pins_name} variant={choice.variant_name}"
            raise BadInput(local, None, None, "is not built", f"make build {named}") from None
    suffix = require_publishable(image.labels, local, unlocked=unlocked)
    tag = f"{choice.pins_name}-{choice.variant_name}{suffix}"
    repository = f"{to}/{choice.image}"
    present = imagetools.image(f"{repository}:{tag}", context.runner, context.environ)
    if present is not None and not same_content(image.attrs, present):
        problem = f"has other content there ({present.digest[:19]}…)"
        fix = "a published tag stays what it is: publish another pin set or variant, or to another namespace"
        raise BadInput(f"{repository}:{tag}", None, None, problem, fix)
    return Item(choice, image, repository, tag, present)


def _publish(item: Item, client: DockerClient, context: BuildContext) -> PublishedImage:
    image = str(item.choice.image)
    if item.present:
        context.say(f"{item.target} is already there")
    else:
        _push(item, client, context)
    remote = item.present or imagetools.image(item.target, context.runner, context.environ)
    if remote is None:
        raise KitError(f"{item.target}: the registry does not show what was pushed")
    if not (remote.provenance and remote.sbom):
        fix = f"build it anew (make build images={image}) and publish it under another name"
        raise KitError(f"{item.target}: is in the registry without provenance or SBOM; {fix}")
    folder = documents_folder(context.root, item.tag)
    for name, document in (("provenance", remote.provenance), ("sbom.spdx", remote.sbom)):
        write_whole(folder / f"{image}.{name}.json", json.dumps(document, indent=1) + "\n")
    return PublishedImage(
        ref=f"{item.repository}@{remote.digest}",
        tag=item.target,
        inputs=item.image.labels.get(f"{LABEL}.inputs", "unknown"),
    )


def _push(item: Item, client: DockerClient, context: BuildContext) -> None:
    """Push through the engine, attestations and all. The local tag for it goes again."""
    began = context.clock.now()
    sent: dict[str, int] = {}
    with docker_host.reported(item.target), Progress(context.console, HEARTBEAT_S) as progress:
        item.image.tag(item.repository, tag=item.tag)
        try:
            for event in client.api.push(item.repository, tag=item.tag, stream=True, decode=True):
                if "error" in event:
                    raise docker_host.explained(item.target, str(event["error"]))
                sent[event.get("id", "")] = event.get("progressDetail", {}).get("current", 0)
                now = context.clock.now()
                word = f"{sum(sent.values()) / 1e6:.0f} MB sent"
                row = Row(str(item.choice.image), item.target, "pushing", now - began, word)
                progress.update([row], now)
        finally:
            client.images.remove(item.target, noprune=True)


def _require_signer(sign: str | None) -> None:
    if sign is None:
        return
    if sign != "cosign":
        raise BadInput("command line", "sign", sign, "is not a known signer", "sign=cosign, or leave it out")
    if shutil.which("cosign") is None:
        raise MissingPrerequisite("cosign is not installed", "see docs.sigstore.dev, or leave sign= out")


def _sign(ref: str, context: BuildContext) -> None:
    argv = ["cosign", "sign", "--yes", ref]
    done = context.runner.run(argv, env=context.environ, timeout_s=_SIGN_TIMEOUT_S)
    if done.code != 0:
        raise KitError(f"{ref}: is pushed but not signed: {done.why}")
    context.say(f"signed {ref}")


_HEADER = """\
# Written by `make publish`: what was published. A reference with a digest is the same image for ever.
"""


def documents_folder(root: Path, tag: str) -> Path:
    """Where the documents of a tag's images are kept; the file is beside it."""
    return root / ".heteropd" / "published" / tag


def record(root: Path, tag: str, new: Published) -> Path:
    """Add to the file of the tag: images that it names already are replaced, others stay."""
    file = documents_folder(root, tag).with_name(f"{tag}.yaml")
    old = yamlfile.load(Published, file, root).images if file.exists() else {}
    made = new.model_copy(update={"images": {**old, **new.images}})
    write_whole(file, _HEADER + yaml.safe_dump(made.model_dump(mode="json"), sort_keys=False, width=200))
    return file
