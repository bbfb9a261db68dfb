"""`make infra`: runs the testinfra suites of an image against a container of it, and takes that away."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from docker import DockerClient
from docker.errors import ImageNotFound

from heteropd.config.env import pick
from heteropd.containers import docker_host
from heteropd.errors import BadInput
from heteropd.images import recipe, suites
from heteropd.images.context import BuildContext
from heteropd.images.recipe import LABEL, Choice

MARK = f"{LABEL}.infra"


@dataclass(frozen=True)
class ImageTest:
    """What to test: ``ref`` stands for the image's own tag. ``junit``: where results go, as JUnit's XML."""

    image: str | None
    pins: str | None = None
    variant: str | None = None
    ref: str | None = None
    strict: bool = False
    junit: str | None = None


def run(test: ImageTest, context: BuildContext) -> int:
    """Test an image; 0 or 1. Raises BadInput for an image that is not there, MissingPrerequisite."""
    choice = _choice(test, context)
    suites.require_testinfra()
    ref = test.ref or recipe.tag(choice, context.env)
    with (
        closing(docker_host.connect(context.env.images.engine)) as client,
        container(client, ref, f"make build images={choice.image}") as name,
    ):
        environ = {**context.environ, "DOCKER_HOST": docker_host.address()}
        return suites.run(argv(choice, name, test), f"infra of {ref}", environ, context.runner)


def argv(choice: Choice, container_name: str, test: ImageTest) -> list[str]:
    """The command that tests a container. Suites: what is common, and the image's own where it has one."""
    options = [f"--hosts=docker://{container_name}", f"--image={choice.image}"]
    options += [f"--pins={choice.pins_name}", f"--variant={choice.variant_name}"]
    return suites.argv(options, ["common", choice.image], strict=test.strict, junit=test.junit)


@contextmanager
def container(client: DockerClient, ref: str, build: str) -> Iterator[str]:
    """A container of the image that only sleeps; gone afterwards. ``build``: what makes the image."""
    with docker_host.reported(f"infra of {ref}"):
        try:
            client.images.get(ref)
        except ImageNotFound:
            fix = f"build it: {build}"
            raise BadInput("command line", "image", ref, "is not on this engine", fix) from None
        made = client.containers.create(
            ref, ["sleep", "infinity"], entrypoint=[], network_mode="none", init=True, labels={MARK: "1"}
        )
        try:
            made.start()
            yield str(made.name)
        finally:
            made.remove(force=True)


def _choice(test: ImageTest, context: BuildContext) -> Choice:
    known = context.env.images.images
    if test.image is None:
        raise BadInput("command line", "image", None, "missing", f"name one of: {', '.join(known)}")
    pick("image", test.image, known)
    image = next(name for name in known if name == test.image)
    return recipe.choose(image, test.pins, test.variant, context.env)
