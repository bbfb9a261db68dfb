"""Runs `docker buildx bake` on a bake file, says how far each image is, and why one that fails does."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from heteropd.console.log_tail import last_lines, without_colours
from heteropd.console.progress import Progress, Row
from heteropd.containers import docker_host
from heteropd.errors import BadInput, KitError
from heteropd.images.bake import BakeFile, Options
from heteropd.images.context import BuildContext
from heteropd.images.recipe import Recipe
from heteropd.processes import terminate
from heteropd.processes.identity import alive, identify
from heteropd.processes.launcher import exit_status
from heteropd.processes.process_tree import descendants

HEARTBEAT_S = 20.0
# Docker's own driver makes a nameless image of every target otherwise, `type=cacheonly` or not.
_NO_LOAD = {"BUILDX_NO_DEFAULT_LOAD": "1"}
_POLL_S = 0.3
_STEP_LENGTH = 100
_TAIL_LINES = 25
_LOG_END_LINES = 400
# BuildKit's plain progress: "#7 [cpu build 2/4] RUN …", then "#7 DONE 2.5s". The first word is the target.
_STARTS = re.compile(r"^#(\d+) \[([\w-]+)(?: [^\]]*)?\] (.*)")
_ENDS = re.compile(r"^#(\d+) (?:DONE|CACHED)")
_FAILED_STEP = re.compile(r"^ > \[([\w-]+)")
_TELLING = re.compile(r"ERROR|error:|No space left|HASH|[Hh]ash")
_MOUNT = re.compile(r"--mount=\S+\s+")


@dataclass
class BuildLog:
    """What BuildKit has said so far: each target's step, and the targets whose image is exported."""

    steps: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    _exports: dict[str, str] = field(default_factory=dict)

    def read(self, lines: Iterable[str]) -> None:
        """Take in more lines."""
        for line in lines:
            if starts := _STARTS.match(line):
                number, target, step = starts.groups()
                self.steps[target] = " ".join(_MOUNT.sub("", step).split())[:_STEP_LENGTH]
                if step.startswith("exporting to"):
                    self._exports[number] = target
            elif (ends := _ENDS.match(line)) and ends[1] in self._exports:
                self.exported.add(self._exports[ends[1]])


def require_locked(recipes: Sequence[Recipe], options: Options) -> None:
    """Raise BadInput for the first input that is not pinned, with the command that resolves it."""
    for recipe in recipes:
        for still_open in recipe.unresolved:
            if not options.unlocked:
                fix = f"resolve it (make lock; by hand: {still_open.resolve}), or build with unlocked=1"
                raise BadInput(still_open.where, None, None, "is not pinned", fix)


def run(name: str, file: BakeFile, context: BuildContext) -> float:
    """Build a bake file's default group; the seconds it took. ``name`` names its log.

    Raises KitError, with the end of the log printed, when a target fails. Whatever ends this ends the build:
    BuildKit stops when its client is gone.
    """
    plan = context.state / "build" / f"{name}.json"
    log = context.logs / f"{name}.log"
    for folder in (plan.parent, log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    plan.write_text(json.dumps(file, indent=2) + "\n", encoding="utf-8")
    log.unlink(missing_ok=True)
    argv = ["docker", "buildx", "bake", "--progress=plain", "--file", str(plan)]
    began, seen, process = context.clock.now(), BuildLog(), None
    targets = file["group"]["default"]["targets"]
    try:
        environ = {**context.environ, **_NO_LOAD}
        process = identify(context.runner.spawn(argv, env=environ, log=log, cwd=context.root))
        with log.open(errors="replace") as stream, Progress(context.console, HEARTBEAT_S) as progress:
            running = True
            while running:
                running = process is not None and alive(process)
                seen.read(without_colours(line) for line in stream)
                now = context.clock.now()
                progress.update(_rows(targets, seen, now - began), now)
                context.clock.sleep(_POLL_S if running else 0)
    finally:
        if process is not None:
            terminate.kill(lambda: descendants(process), context.clock)
    status = exit_status(process) if process is not None else None
    if status != 0:
        raise _failed(last_lines(log, _LOG_END_LINES), str(log), status)
    return context.clock.now() - began


def _rows(targets: Sequence[str], seen: BuildLog, seconds: float) -> list[Row]:
    rows = []
    for name in targets:
        state = "built" if name in seen.exported else "building"
        rows.append(Row(name, f"docker/{name}", state, seconds, seen.steps.get(name, "")))
    return rows


def _failed(lines: list[str], log: str, status: int | None) -> KitError:
    """Prints what the log ends with: the step that failed (" > [cpu build 2/4] RUN …:") and its output."""
    starts = [index for index, line in enumerate(lines) if _FAILED_STEP.match(line)]
    step = lines[starts[-1] :] if starts else lines[-_TAIL_LINES:]
    output = step[: step.index("------")] if "------" in step else step
    for line in output[-_TAIL_LINES:]:
        print(f"  | {line[:300]}")
    named = _FAILED_STEP.match(output[0]) if output else None
    telling = [line for line in lines if _TELLING.search(line)]
    own = [line for line in output[1:] if _TELLING.search(line)]
    where = f"build of {named[1] if named else 'images'} (log: {log})"
    return docker_host.explained(where, "\n".join([*telling, *own]) or f"exit status {status}")
