"""The documents of an image that is published: its bill of materials and its provenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from docker import DockerClient
from docker.errors import APIError, ContainerError
from docker.models.images import Image

from heteropd.config.pins import PinSet
from heteropd.containers import docker_host
from heteropd.errors import KitError
from heteropd.images import bundle_folder, contents, recipe, sbom
from heteropd.images.context import BuildContext
from heteropd.images.recipe import LABEL, Choice
from heteropd.images.registry import Document
from heteropd.images.sbom import SbomSubject

_RELEASE = ["sh", "-c", '. /etc/os-release && echo "$ID-$VERSION_ID"']


@dataclass(frozen=True)
class ImageContents:
    """What was found in an image: its inventory, its Debian packages, and its distribution's name."""

    inventory: dict[str, Any]
    debs: str
    release: str


def look(image: Image, client: DockerClient) -> ImageContents:
    """Look into the image. Raises KitError for one that cannot say what is in it."""
    ref = str(image.id)
    inventory = contents.inventory(client, ref)
    if not inventory.get("packages"):
        raise KitError(f"{ref}: its inventory names no packages; build it anew (make build)")
    return ImageContents(inventory, _asked(client, ref, sbom.DEBS), _asked(client, ref, _RELEASE).strip())


def make(choice: Choice, subject: SbomSubject, seen: ImageContents, shop: BuildContext) -> list[Document]:
    """SBOM and provenance of a published image."""
    return [
        sbom.cyclonedx(subject, seen.inventory, seen.debs, seen.release),
        sbom.provenance(subject, _remotes(choice), _locks(choice, subject, shop)),
    ]


def _asked(client: DockerClient, image: str, words: list[str]) -> str:
    """What a program of the image prints, without a network; nothing where the image has no such program."""
    with docker_host.reported(image):
        try:
            said = client.containers.run(
                image, words, entrypoint="", remove=True, network_mode="none", labels={LABEL: "documents"}
            )
        except (APIError, ContainerError):
            return ""
    return bytes(said).decode()


def _remotes(choice: Choice) -> dict[str, str]:
    if not isinstance(choice.pins, PinSet):
        return {}
    return {name: choice.pins.sources[name].remote for name in choice.sources}


def _locks(choice: Choice, subject: SbomSubject, shop: BuildContext) -> dict[str, str] | None:
    """The locks of this checkout, if the image was built from what this checkout holds."""
    now = recipe.render(choice, shop.env, shop.root, {}).labels[f"{LABEL}.inputs"]
    if subject.labels.get(f"{LABEL}.inputs") != now:
        return None
    return {lock: bundle_folder.sha256(shop.root / lock) for lock in choice.locks()}
