"""The cold side of the bring-up benchmark: a clean clone with empty caches, then one with full caches.

The first clone has to download everything; the second finds every package in the caches of uv and pip that
the first filled and repeats all other work. The second is what is compared, the difference is downloads.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from heteropd.bench import make, pair
from heteropd.bench.children import Children
from heteropd.bench.make import Make
from heteropd.bench.results import Aim, Figures
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import env
from heteropd.config.bench import BringupSettings
from heteropd.errors import KitError
from heteropd.prepare import engine
from heteropd.system import CommandRunner

COLUMNS = ["phase", "empty caches s", "full caches s"]
EMPTY, FULL = "empty caches", "full caches"
LIMIT_S = 3600.0


def measure(settings: BringupSettings, workspace: BenchWorkspace) -> Figures:
    """Clone, bring up and end twice. Raises KitError when the clone or its `make` fails."""
    phases: dict[str, dict[str, float]] = {}
    with (
        TemporaryDirectory(prefix="heteropd-cold-", ignore_cleanup_errors=True) as scratch,
        Children("cold-run", workspace) as children,
    ):
        for caches in (EMPTY, FULL):
            with workspace.step(f"a clean clone with {caches}"):
                phases[caches] = _clone(settings.case, Path(scratch), workspace, children)
    rows = [
        {"phase": name, **{f"{caches} s": seconds.get(name) for caches, seconds in phases.items()}}
        for name in phases[FULL]
    ]
    totals = {caches: sum(seconds.values()) for caches, seconds in phases.items()}
    rows.append({"phase": "total", **{f"{caches} s": total for caches, total in totals.items()}})
    name = "clean clone to verdict, beyond downloads"
    commit = _commit(workspace.root, workspace.runner)
    return Figures(
        columns=COLUMNS,
        rows=rows,
        rounds=[{"what": caches, "phases": seconds} for caches, seconds in phases.items()],
        targets=[Aim(name=name, direction="at most", aim=settings.cold_s, value=totals[FULL], unit="s")],
        notes=[f"commit {commit}; downloads: the difference of the columns"],
    )


def _clone(case: str, scratch: Path, workspace: BenchWorkspace, children: Children) -> dict[str, float]:
    """Phases of one clean clone, in seconds. Package caches are those of ``scratch``, all else is new."""
    clone, cache = scratch / "clone", scratch / "cache"
    for old in (clone, cache):
        shutil.rmtree(old, ignore_errors=True)
    began, root = workspace.clock.now(), workspace.root
    argv = ["git", "clone", "--quiet", root.resolve().as_uri(), str(clone)]
    done = workspace.runner.run(argv, timeout_s=300)
    if done.code != 0:
        raise KitError(f"bench: git clone failed: {done.err.strip()}")
    cloned = workspace.clock.now() - began
    variables = {
        "XDG_CACHE_HOME": str(cache),
        "UV_CACHE_DIR": str(scratch / "uv"),
        "PIP_CACHE_DIR": str(scratch / "pip"),
    }
    command = Make(clone, clone / ".heteropd", children, variables)
    model = engine.model_folder(env.load(root).standin, variables)
    milestones = {**make.of_set_up(clone, model), **make.of_bring_up(command.state_dir)}
    ports = [f"{name}={port}" for name, port in pair.free_port_parameters().items()]
    try:
        seen = command.run([case, *ports], milestones, LIMIT_S)
    finally:
        if (clone / ".venv").exists():
            command.run(["down"], {}, LIMIT_S)
    split = make.phases(seen)
    return {"clone": cloned, **split, "validate": split.pop("exit")}


def _commit(root: Path, runner: CommandRunner) -> str:
    commit = runner.run(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]).out.strip()
    dirty = runner.run(["git", "-C", str(root), "status", "--porcelain"]).out.strip()
    return commit + (", without the checkout's uncommitted changes" if dirty else "")
