"""A file of images by digest: what `make publish` writes and ``images=FILE`` runs."""

from pydantic import Field

from heteropd.config.types import Data


class PublishedImage(Data):
    """``ref`` is what to run; ``inputs`` is the SHA-256 over what the image was made from."""

    ref: str = Field(pattern=r"^[^@\s]+@sha256:[0-9a-f]{64}$", description="REGISTRY/NAME@sha256:…")
    tag: str = Field(description="The tag it was published under, for people")
    inputs: str = ""


class Published(Data):
    """The images of one pin set and variant."""

    pins: str
    variant: str
    images: dict[str, PublishedImage] = Field(default_factory=dict)
