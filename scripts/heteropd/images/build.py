"""Builds images with BuildKit, side by side, and says how far each is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heteropd.config.images import Images
from heteropd.console.log_tail import last_lines
from heteropd.console.progress import Progress, Row
from heteropd.containers import docker_host
from heteropd.errors import BadInput, KitError
from heteropd.images.recipe import Recipe
from heteropd.images.site import Site
from heteropd.processes import terminate
from heteropd.processes.identity import Identity, alive, identify
from heteropd.processes.launcher import exit_status
from heteropd.processes.process_tree import descendants
from heteropd.system import Clock, CommandRunner

_POLL_S = 0.3
_TAIL_LINES = 25
_STEP = re.compile(r"^#\d+ (\[[^\]]*\] .*|exporting .*)")
_MOUNT = re.compile(r"--mount=\S+\s+")


@dataclass(frozen=True)
class Options:
    """``cache``: where in a registry layers are kept for other machines; ``offline``: no network at all."""

    unlocked: bool = False
    no_cache: bool = False
    offline: bool = False
    cache: str | None = None


@dataclass(frozen=True)
class Built:
    """An image that was built: its tag, and the seconds it took."""

    recipe: Recipe
    seconds: float


def require_locked(recipes: Sequence[Recipe], options: Options) -> None:
    """Raise BadInput for the first input that is not pinned, with the command that resolves it."""
    for recipe in recipes:
        for one in recipe.unresolved:
            if not options.unlocked:
                fix = f"resolve it (make lock; by hand: {one.resolve}), or build with unlocked=1"
                raise BadInput(one.where, None, None, "is not pinned", fix)


def argv(recipe: Recipe, images: Images, site: Site, options: Options) -> list[str]:
    """The command that builds the image, as a list."""
    words = ["docker", "buildx", "build", "--progress=plain", "--provenance=false"]
    words += ["--file", recipe.dockerfile, "--target", "image"]
    # OCI's media types: Docker's own have no zstd, and an engine could not pull what was pushed.
    output = f"type=image,name={recipe.tag},compression={images.compression},oci-mediatypes=true"
    words += ["--output", output]
    contexts = {"wheels": site.wheels, **recipe.contexts} if site.wheels else recipe.contexts
    for name, folder in sorted(contexts.items()):
        words += ["--build-context", f"{name}={folder}"]
    for name, value in sorted(recipe.build_args.items()):
        words += ["--build-arg", f"{name}={value}"]
    for name, value in sorted(recipe.labels.items()):
        words += ["--label", f"{name}={value}"]
    for name, file in sorted(site.secrets.items()):
        words += ["--secret", f"id={name},src={file}"]
    if options.no_cache:
        words.append("--no-cache")
    if options.offline:
        words += ["--network", "none"]
    if options.cache:
        words += ["--cache-from", f"type=registry,ref={options.cache}/{recipe.image}"]
        words += ["--cache-to", f"type=registry,ref={options.cache}/{recipe.image},mode=max"]
    return [*words, "."]


class Builds:
    """Several builds at a time; the first that fails ends the others."""

    def __init__(self, root: Path, logs: Path, runner: CommandRunner, clock: Clock) -> None:
        self._root, self._logs, self._runner, self._clock = root, logs, runner, clock
        self._running: dict[str, tuple[Identity, float]] = {}
        self._seconds: dict[str, float] = {}

    def run(
        self, commands: Mapping[str, list[str]], environ: Mapping[str, str], progress: Progress
    ) -> dict[str, float]:
        """Run every command, by image; the seconds that each took. Raises KitError for one that fails."""
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            for name, words in commands.items():
                self.log(name).unlink(missing_ok=True)
                pid = self._runner.spawn(words, env=environ, log=self.log(name), cwd=self._root)
                process = identify(pid)
                if process is not None:
                    self._running[name] = (process, self._clock.now())
            while self._running:
                for name in list(self._running):
                    self._look(name)
                progress.update(self._rows(commands), self._clock.now())
                self._clock.sleep(_POLL_S)
        finally:
            for process, _ in self._running.values():
                terminate.kill(lambda one=process: descendants(one), self._clock)  # type: ignore[misc]
        return self._seconds

    def log(self, name: str) -> Path:
        """Where a build writes what it does."""
        return self._logs / f"build-{name}.log"

    def _look(self, name: str) -> None:
        process, began = self._running[name]
        if alive(process):
            return
        del self._running[name]
        self._seconds[name] = self._clock.now() - began
        status = exit_status(process)
        if status != 0:
            raise self._failed(name, status)

    def _failed(self, name: str, status: int | None) -> KitError:
        lines = last_lines(self.log(name), 400)
        said = [line for line in lines if re.search(r"ERROR|error:|No space left|HASH|[Hh]ash", line)]
        for line in lines[-_TAIL_LINES:]:
            print(f"  | {line[:300]}")
        what = "\n".join(said) or f"exit status {status}"
        return docker_host.explained(f"build of {name} (log: {self.log(name)})", what)

    def _rows(self, commands: Mapping[str, list[str]]) -> list[Row]:
        rows = []
        for name in commands:
            running = self._running.get(name)
            seconds = self._clock.now() - running[1] if running else self._seconds.get(name, 0.0)
            state = "building" if running else "built"
            rows.append(Row(name, f"docker/{name}", state, seconds, self._step(name) if running else ""))
        return rows

    def _step(self, name: str) -> str:
        for line in reversed(last_lines(self.log(name), 60)):
            found = _STEP.match(line)
            if found:
                return _MOUNT.sub("", found[1])
        return ""
