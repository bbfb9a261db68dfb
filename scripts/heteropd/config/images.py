"""env/images.yaml: what the kit builds, and what must be found in it; and files of published images."""

from typing import Literal

from pydantic import Field

from heteropd.config.types import Data, EnvName

ImageName = Literal["cuda", "gaudi", "cpu", "router"]
IMAGE_NAMES: tuple[ImageName, ...] = ("cuda", "gaudi", "cpu", "router")


class Image(Data):
    """One image. Its Dockerfile is ``docker/NAME/Dockerfile``."""

    pins: str = Field(description="Pin set that it is built from unless another is asked for")
    locks: list[str] = Field(
        description="Hashed requirements it installs; '{pins}' stands for the pin set's name"
    )
    sources: list[str] = Field(
        default_factory=list, description="Keys of the pin set's 'sources' that are built into it"
    )
    optional_sources: list[str] = Field(
        default_factory=list, description="Sources that are added where the pin set has them"
    )
    parts: list[str] = Field(
        default_factory=list, description="What may be given by hand: part.NAME=FOLDER or image://…"
    )
    system_packages: bool = Field(
        default=False, description="Its base gets verbs, libnuma and Python of the distribution"
    )
    user: str = Field(description="Who it runs as")
    uid: int = Field(default=0, ge=0, description="The user's number; 0 is root")
    python: str = Field(description="The Python of its engine")
    bin: str = Field(description="Folder of its programs")
    env: dict[EnvName, str] = Field(description="Environment that is baked in")
    libraries: list[str] = Field(
        default_factory=list, description="Modules of UCX that must be in it: uct_cuda, uct_gaudi, uct_ib"
    )
    ucx_part_libraries: list[str] = Field(
        default_factory=list, description="Modules that a UCX of its own must have beside those: uct_gaudi"
    )
    limit_mb: int | None = Field(default=None, gt=0, description="Largest size of its layers, in MB (10^6)")


class EngineVersions(Data):
    """The oldest container engine that can build and run the images."""

    docker: str = Field(pattern=r"^\d+(\.\d+)*$")
    buildx: str = Field(pattern=r"^\d+(\.\d+)*$")


class Images(Data):
    """env/images.yaml."""

    epoch: int = Field(gt=0, description="SOURCE_DATE_EPOCH: every timestamp in a layer, in Unix seconds")
    compression: Literal["gzip", "zstd", "uncompressed"]
    engine: EngineVersions
    tools: str = Field(description="Lock of the programs that install the others; never in an image")
    sbom: str = Field(description="Lock of the program that lists what is in an image; never in one")
    healthcheck: list[str] = Field(description="Of every image, as the engine shows it")
    stop_signal: str = Field(pattern=r"^SIG[A-Z]+$", description="Ends every image's program")
    images: dict[ImageName, Image]


class PublishedImage(Data):
    """``ref`` is what to run; ``inputs`` is the SHA-256 over what the image was made from."""

    ref: str = Field(pattern=r"^[^@\s]+@sha256:[0-9a-f]{64}$", description="REGISTRY/NAME@sha256:…")
    tag: str = Field(description="The tag it was published under, for people")
    inputs: str = ""


class Published(Data):
    """Images of one pin set and variant by digest: what `make publish` writes and ``images=FILE`` runs."""

    pins: str
    variant: str
    images: dict[str, PublishedImage] = Field(default_factory=dict)
