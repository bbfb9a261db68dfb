"""`make infra`: runs the testinfra suites of an image against a container of it, and takes that away."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from docker import DockerClient
from docker.errors import ImageNotFound

from heteropd.config.arguments import Arguments
from heteropd.config.env import pick
from heteropd.containers import docker_host
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput, KitError, MissingPrerequisite
from heteropd.images import recipe
from heteropd.images.context import BuildContext
from heteropd.images.recipe import LABEL, Choice

MARK = f"{LABEL}.infra"
SUITES = "tests/infra"
_OPTIONS = ("image", "pins", "variant", "image_ref", "junit")
# pytest: 1 is tests that failed; everything above is pytest itself that could not go on.
_TESTS_FAILED = 1


def run(words: list[str], context: BuildContext) -> int:
    """Test an image; 0 or 1. Raises BadInput for an image that is not there, MissingPrerequisite."""
    parsed = Arguments(words, flags=("strict",), options=_OPTIONS)
    choice = _choice(parsed, context)
    if importlib.util.find_spec("testinfra") is None:
        raise MissingPrerequisite("testinfra is not in this environment", "run `make infra`, which has it")
    ref = parsed.options.get("image_ref") or recipe.tag(choice, context.env)
    with (
        closing(docker_host.connect(context.env.images.engine)) as client,
        container(client, ref, f"make build images={choice.image}") as name,
    ):
        status = context.runner.show(argv(choice, name, parsed), env=_environ(context))
    if status > _TESTS_FAILED:
        raise KitError(f"infra of {ref}: pytest ended with status {status}; see its output above")
    return EXIT_FAILED if status else EXIT_OK


def argv(choice: Choice, container_name: str, parsed: Arguments) -> list[str]:
    """The command that tests a container. Suites: what is common, and the image's own where it has one."""
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--hosts=docker://{container_name}"]
    words += [f"--image={choice.image}", f"--pins={choice.pins_name}", f"--variant={choice.variant_name}"]
    words += ["--strict-facts"] if "strict" in parsed.flags else []
    words += [f"--junit-xml={parsed.options['junit']}"] if "junit" in parsed.options else []
    return [*words, f"{SUITES}/common", f"{SUITES}/{choice.image}"]


@contextmanager
def container(client: DockerClient, ref: str, build: str) -> Iterator[str]:
    """A container of the image that only sleeps; gone afterwards. ``build``: what makes the image."""
    with docker_host.reported(f"infra of {ref}"):
        try:
            client.images.get(ref)
        except ImageNotFound:
            raise BadInput(
                "command line", "image", ref, "is not on this engine", f"build it: {build}"
            ) from None
        made = client.containers.create(
            ref, ["sleep", "infinity"], entrypoint=[], network_mode="none", init=True, labels={MARK: "1"}
        )
        try:
            made.start()
            yield str(made.name)
        finally:
            made.remove(force=True)


def _choice(parsed: Arguments, context: BuildContext) -> Choice:
    options = dict(parsed.options)
    if "image" not in options and parsed.rest and "=" not in parsed.rest[0]:
        options["image"] = parsed.rest.pop(0)
    parsed.none_left("infra")
    if "image" not in options:
        known = ", ".join(context.env.images.images)
        raise BadInput("command line", "image", None, "missing", f"name one of: {known}")
    pick("image", options["image"], context.env.images.images)
    image = next(name for name in context.env.images.images if name == options["image"])
    return recipe.choose(image, options.get("pins"), options.get("variant"), context.env)


def _environ(context: BuildContext) -> dict[str, str]:
    """testinfra asks through the docker program, which must reach the same engine."""
    return {**os.environ, **context.environ, "DOCKER_HOST": docker_host.address()}
