"""`make publish`: pushes images under tags that never change their content, with what is in them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from docker import DockerClient
from docker.errors import ImageNotFound, NotFound
from docker.models.images import Image

from heteropd.config.arguments import Arguments
from heteropd.config.published import Published, PublishedImage
from heteropd.console.progress import Progress, Row
from heteropd.containers import docker_host
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.images import command, documents, published, recipe
from heteropd.images.context import BuildContext
from heteropd.images.destination import Destination, destination
from heteropd.images.recipe import LABEL, Choice
from heteropd.images.registry import Registry
from heteropd.images.sbom import SbomSubject

_FLAGS = ("unlocked", "dry_run")
_OPTIONS = ("registry", "pins", "variant", "sign", "images")
_SIGN_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Item:
    """One image to publish. ``there``: the digest that its tag has there already, with this content."""

    choice: Choice
    image: Image
    repository: str
    tag: str
    there: str | None

    @property
    def target(self) -> str:
        return f"{self.repository}:{self.tag}"

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.image.labels)


def run(words: list[str], shop: BuildContext) -> dict[str, PublishedImage]:
    """Publish images; what to run, by image. Every image is judged before the first is pushed.

    Raises BadInput for an image that is not built or not locked, and for a tag that has other content in the
    registry; MissingPrerequisite without an engine or signer; KitError for what the registry says.
    """
    parsed = Arguments(words, _FLAGS, _OPTIONS)
    choices = command.chosen(parsed.rest, parsed.options, shop.env)
    _require_signer(parsed.options.get("sign"))
    client = docker_host.connect(shop.env.images.engine)
    try:
        to = destination(parsed.options.get("registry"), client)
        items = [_item(choice, to, "unlocked" in parsed.flags, client, shop) for choice in choices]
        if "dry_run" in parsed.flags:
            for item in items:
                shop.say(f"{item.target}: {'is already there' if item.there else 'would be pushed'}")
            return {}
        done = {}
        for item in items:
            done[str(item.choice.image)] = _publish(item, to, client, shop)
            if "sign" in parsed.options:
                _sign(done[str(item.choice.image)].ref, shop)
    finally:
        client.close()
    for item in items:
        image = str(item.choice.image)
        new = Published(
            pins=item.choice.pins_name, variant=item.choice.variant_name, images={image: done[image]}
        )
        file = published.add(shop.root, item.tag, new)
        shop.say(f"{item.target} is {done[image].ref} ({file.relative_to(shop.root)})")
    return done


def require_publishable(labels: dict[str, str], local: str, *, unlocked: bool) -> str:
    """What the tag ends with: nothing, or '-unlocked' where that was asked for. Raises BadInput."""
    locked = labels.get(f"{LABEL}.locked")
    if locked is None:
        raise BadInput(local, None, None, "is not an image of the kit", "build one with `make build`")
    if locked == "true":
        return ""
    if unlocked:
        return "-unlocked"
    open_ = labels.get(f"{LABEL}.unlocked", "an input")
    fix = "pin it (make lock) and build anew, or publish with unlocked=1 under a tag that says so"
    raise BadInput(local, None, None, f"was built with {open_} not pinned", fix)


def _item(choice: Choice, to: Destination, unlocked: bool, client: DockerClient, shop: BuildContext) -> Item:
    local = recipe.tag(choice, shop.env)
    with docker_host.reported(local):
        try:
            image = client.images.get(local)
        except ImageNotFound:
            fix = f"make build images={choice.image} pins={choice.pins_name} variant={choice.variant_name}"
            raise BadInput(local, None, None, "is not built", fix) from None
    suffix = require_publishable(dict(image.labels), local, unlocked=unlocked)
    tag = f"{choice.pins_name}-{choice.variant_name}{suffix}"
    repository = f"{to.host}/{to.namespace}/{choice.image}"
    there = _digest(f"{repository}:{tag}", client)
    if there is not None and not _same(image, there, to, str(choice.image)):
        fix = "a published tag stays what it is: publish another pin set or variant, or to another namespace"
        raise BadInput(f"{repository}:{tag}", None, None, f"has other content there ({there[:19]}…)", fix)
    return Item(choice, image, repository, tag, there)


def _digest(target: str, client: DockerClient) -> str | None:
    with docker_host.reported(target):
        try:
            return str(client.images.get_registry_data(target).id)
        except NotFound:
            return None


def _same(image: Image, digest: str, to: Destination, name: str) -> bool:
    """Engines name an image by its manifest or, where they keep layers unpacked, by its configuration."""
    if digest == image.id or any(str(one).endswith(f"@{digest}") for one in image.attrs["RepoDigests"] or []):
        return True
    with _registry(to, name) as registry:
        found = registry.manifest(digest)
    return found is not None and found[0].get("config", {}).get("digest") == image.id


def _publish(item: Item, to: Destination, client: DockerClient, shop: BuildContext) -> PublishedImage:
    seen = documents.look(item.image, client)  # first: what cannot be described is not pushed
    digest = item.there or _push(item, client, shop)
    if item.there:
        shop.say(f"{item.target} is already there")
    folder = published.folder(shop.root, item.tag)
    folder.mkdir(parents=True, exist_ok=True)
    subject = SbomSubject(item.repository, digest, item.labels)
    made = documents.make(item.choice, subject, seen, shop)
    for one in made:
        (folder / f"{item.choice.image}.{one.name}").write_bytes(one.content)
    try:
        with _registry(to, str(item.choice.image)) as registry:
            manifest = registry.manifest(digest)
            if manifest is None:
                raise KitError(f"{item.target}: the registry does not show what was pushed")
            ways = {registry.attach(manifest[1], one) for one in made}
        shop.say(f"{item.target}: documents attached ({'by tag' if 'tag' in ways else 'as referrers'})")
    except KitError as problem:
        kept = folder.relative_to(shop.root)
        shop.say(f"{item.target}: documents are in {kept} only: {problem}")
    return PublishedImage(
        ref=f"{item.repository}@{digest}",
        tag=item.target,
        inputs=item.labels.get(f"{LABEL}.inputs", "unknown"),
    )


def _push(item: Item, client: DockerClient, shop: BuildContext) -> str:
    """Push through the engine; the digest that the registry gave. The local tag for it goes again."""
    began = shop.clock.now()
    sent: dict[str, int] = {}
    with docker_host.reported(item.target), Progress(shop.console, command.HEARTBEAT_S) as progress:
        item.image.tag(item.repository, tag=item.tag)
        try:
            for event in client.api.push(item.repository, tag=item.tag, stream=True, decode=True):
                if "error" in event:
                    raise docker_host.explained(item.target, str(event["error"]))
                sent[event.get("id", "")] = event.get("progressDetail", {}).get("current", 0)
                seconds = shop.clock.now() - began
                word = f"{sum(sent.values()) / 1e6:.0f} MB sent"
                progress.update(
                    [Row(str(item.choice.image), item.target, "pushing", seconds, word)], began + seconds
                )
        finally:
            client.images.remove(item.target, noprune=True)
    digest = _digest(item.target, client)
    if digest is None:
        raise KitError(f"{item.target}: the registry does not show what was pushed")
    return digest


def _registry(to: Destination, image: str) -> Registry:
    return Registry(to.host, f"{to.namespace}/{image}", to.login, tls=to.tls)


def _require_signer(sign: str | None) -> None:
    if sign is None:
        return
    if sign != "cosign":
        raise BadInput("command line", "sign", sign, "is not a known signer", "sign=cosign, or leave it out")
    if shutil.which("cosign") is None:
        raise MissingPrerequisite("cosign is not installed", "see docs.sigstore.dev, or leave sign= out")


def _sign(ref: str, shop: BuildContext) -> None:
    words: Sequence[str] = ["cosign", "sign", "--yes", ref]
    done = shop.runner.run(words, env=shop.environ, timeout_s=_SIGN_TIMEOUT_S)
    if done.code != 0:
        raise KitError(f"{ref}: is pushed but not signed: {' '.join(done.err.split())[-300:]}")
    shop.say(f"signed {ref}")
