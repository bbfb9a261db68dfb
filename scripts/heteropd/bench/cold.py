"""The cold side of the bring-up benchmark: a clean clone with empty caches, then one with full caches.

The first clone has to download everything; the second finds every package in the caches of uv and pip that
the first filled and repeats all other work. The second is what is compared, the difference is downloads.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from heteropd.bench import milestones, results
from heteropd.bench.children import Children
from heteropd.bench.make import Make
from heteropd.bench.pair import port_words
from heteropd.bench.results import Aim, BenchResult
from heteropd.bench.workspace import BenchWorkspace
from heteropd.config import env
from heteropd.config.bench import BringupSettings
from heteropd.errors import KitError
from heteropd.prepare import engine
from heteropd.system import CommandRunner

COLUMNS = ["phase", "empty caches s", "full caches s"]
EMPTY, FULL = "empty caches", "full caches"
LIMIT_S = 3600.0


def measure(settings: BringupSettings, lab: BenchWorkspace) -> BenchResult:
    """Clone, bring up and end twice. Raises KitError when the clone or its `make` fails."""
    clock = lab.clock
    machine, started, began = results.machine(), clock.wall(), clock.now()
    scratch = Path(mkdtemp(prefix="heteropd-cold-"))
    found: dict[str, dict[str, float]] = {}
    try:
        with Children("cold-run", lab) as children:
            for name in (EMPTY, FULL):
                found[name] = _one(settings.case, scratch, lab, children)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    total = sum(found[FULL].values())
    rows = [{"phase": name, **_cells(found, name)} for name in found[FULL]]
    rows.append({"phase": "total", **{f"{name} s": sum(found[name].values()) for name in found}})
    return BenchResult(
        what="bringup-cold", started=started, seconds=clock.now() - began, machine=machine,
        settings=settings.model_dump(), columns=COLUMNS, rows=rows,
        rounds=[{"what": name, "phases": phases} for name, phases in found.items()],
        targets=[Aim(name="clean clone to verdict, beyond downloads", direction="at most",
                        aim=settings.cold_s, value=total, unit="s")],
        notes=[f"commit {_commit(lab.root, lab.runner)}; downloads: the difference of the columns"],
    )  # fmt: skip


def _cells(found: Mapping[str, Mapping[str, float]], phase: str) -> dict[str, Any]:
    return {f"{name} s": phases.get(phase) for name, phases in found.items()}


def _one(case: str, scratch: Path, lab: BenchWorkspace, children: Children) -> dict[str, float]:
    """Phases of one clean clone, in seconds. Package caches are those of ``scratch``, all else is new."""
    clone, cache = scratch / "clone", scratch / "cache"
    for old in (clone, cache):
        shutil.rmtree(old, ignore_errors=True)
    began = lab.clock.now()
    done = lab.runner.run(["git", "clone", "--quiet", lab.root.resolve().as_uri(), str(clone)], timeout_s=300)
    if done.code != 0:
        raise KitError(f"bench: git clone failed: {done.err.strip()}")
    cloned = lab.clock.now() - began
    variables = {
        "XDG_CACHE_HOME": str(cache),
        "UV_CACHE_DIR": str(scratch / "uv"),
        "PIP_CACHE_DIR": str(scratch / "pip"),
    }
    make = Make(clone, clone / ".heteropd", children, variables)
    model = engine.model_folder(env.load(lab.root).standin, variables)
    reached = {**milestones.of_set_up(clone, model), **milestones.of_bring_up(make.state_dir)}
    try:
        seen = make.run([case, *port_words()], reached, LIMIT_S)
    finally:
        if (clone / ".venv").exists():
            make.run(["down"], {}, LIMIT_S)
    split = milestones.phases(seen)
    return {"clone": cloned, **split, "validate": split.pop("exit")}


def _commit(root: Path, runner: CommandRunner) -> str:
    said = runner.run(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]).out.strip()
    dirty = runner.run(["git", "-C", str(root), "status", "--porcelain"]).out.strip()
    return said + (", without the checkout's uncommitted changes" if dirty else "")
