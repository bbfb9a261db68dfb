"""`make infra`: runs the testinfra suites of an image against a container of it, and takes that away."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from docker import DockerClient
from docker.errors import ImageNotFound

from heteropd.config.env import pick
from heteropd.containers import docker_host
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput, KitError, MissingPrerequisite
from heteropd.images import recipe
from heteropd.images.context import BuildContext
from heteropd.images.recipe import LABEL, Choice
from heteropd.system import own_python

MARK = f"{LABEL}.infra"
SUITES = "tests/infra"
# pytest: 1 is tests that failed; everything above is pytest itself that could not go on.
_TESTS_FAILED = 1


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
    if importlib.util.find_spec("testinfra") is None:
        raise MissingPrerequisite("testinfra is not in this environment", "run `make infra`, which has it")
    ref = test.ref or recipe.tag(choice, context.env)
    with (
        closing(docker_host.connect(context.env.images.engine)) as client,
        container(client, ref, f"make build images={choice.image}") as name,
    ):
        status = context.runner.show(argv(choice, name, test), env=_environ(context))
    if status > _TESTS_FAILED:
        raise KitError(f"infra of {ref}: pytest ended with status {status}; see its output above")
    return EXIT_FAILED if status else EXIT_OK


def argv(choice: Choice, container_name: str, test: ImageTest) -> list[str]:
    """The command that tests a container. Suites: what is common, and the image's own where it has one."""
    words = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider"]
    words += [f"--hosts=docker://{container_name}"]
    words += [f"--image={choice.image}", f"--pins={choice.pins_name}", f"--variant={choice.variant_name}"]
    words += ["--strict-facts"] if test.strict else []
    words += [f"--junit-xml={test.junit}"] if test.junit else []
    return [*words, f"{SUITES}/common", f"{SUITES}/{choice.image}"]


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


def _environ(context: BuildContext) -> dict[str, str]:
    """testinfra asks through the docker program, which must reach the same engine."""
    return {**own_python({**os.environ, **context.environ}), "DOCKER_HOST": docker_host.address()}
