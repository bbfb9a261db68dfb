"""guidellm as a process in an environment of its own, that runs one scenario after the other."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heteropd.bench.children import Children
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import env
from heteropd.errors import KitError
from heteropd.prepare import environments
from heteropd.prepare.environments import Environment
from heteropd.system import own_python, write_whole

_PROGRAM = "heteropd.bench.peers.guidellm_levels"
_READY_LIMIT_S, _LOOK_S = 300.0, 0.1
# One process sends: at these rates a second one would only take a core from the engines.
_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "GUIDELLM__MP_CONTEXT_TYPE": "forkserver",
    "GUIDELLM__MAX_WORKER_PROCESSES": "1",
    "GUIDELLM__SCHEDULER_START_DELAY_NON_DISTRIBUTED": "0.5",
}


@dataclass(frozen=True)
class Generator:
    """A running guidellm; ``folder`` is where it looks for scenarios."""

    version: str
    folder: Path
    children: Children

    @classmethod
    def start(cls, workspace: BenchWorkspace, children: Children) -> "Generator":
        """Make its environment unless it is current, start it, wait until it listens. Raises KitError."""
        torch = env.load(workspace.root).standin.torch
        own = Environment("load", ("env/locks/guidellm.txt",), torch.lock, torch.index, projects=())
        environments.ensure(own, workspace.root, workspace.runner, workspace.say)
        folder = children.folder / "scenarios"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        argv = [str(own.python(workspace.root)), "-m", _PROGRAM, str(folder)]
        children.start("guidellm", argv, {**own_python({}), **_SETTINGS})
        ready = folder / "ready"
        _wait(ready, _READY_LIMIT_S, children)
        return cls(ready.read_text(), folder, children)

    def run(
        self, name: str, scenario: dict[str, Any], limit_s: float, watch: Callable[[], None] = lambda: None
    ) -> list[dict[str, Any]]:
        """The requests of one scenario; ``watch`` is called until they are there.

        Raises KitError when guidellm dies, fails or takes longer, and what ``watch`` raises.
        """
        answer = self.folder / f"{name}.requests.json"
        answer.unlink(missing_ok=True)  # of a level of the same name
        write_whole(self.folder / f"{name}.scenario.json", json.dumps(scenario))
        _wait(answer, limit_s, self.children, watch)
        found = json.loads(answer.read_text())
        if "error" in found:
            raise KitError(f"bench: guidellm: {found['error']}")
        requests: list[dict[str, Any]] = found["requests"]
        return requests


def _wait(file: Path, limit_s: float, children: Children, watch: Callable[[], None] = lambda: None) -> None:
    began = children.clock.now()
    while not file.exists():
        children.check()
        watch()
        if children.clock.now() - began > limit_s:
            raise KitError(f"bench: guidellm is not done after {limit_s:g} s; see {children.folder}")
        children.clock.sleep(_LOOK_S)
