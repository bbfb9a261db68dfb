"""What `observe` starts beside a topology: env/observe.yaml."""

from pydantic import Field

from heteropd.config.types import Data, ImageRef, Name, Port


class Service(Data):
    """A program that watches; its image is for machines that have not got it."""

    image: ImageRef = Field(description="By digest")
    port: Port
    ready: str = Field(pattern="^/", description="Path that answers once it serves")
    argv: list[str] = Field(
        min_length=1, description="Its command; {folder}, {port}, {prometheus} are filled in"
    )
    env: dict[str, str] = Field(default_factory=dict)
    package: str | None = Field(default=None, description="The distribution's package with its program")


class ObserveSettings(Data):
    """env/observe.yaml."""

    services: dict[Name, Service] = Field(min_length=1)
