"""What the verbs work with on this machine: the engine's environment, the default model, the state folder."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from heteropd.config import env
from heteropd.console.width import console
from heteropd.containers.docker_host import address, connect, of_plan
from heteropd.images.context import BuildContext
from heteropd.plan.model import Plan
from heteropd.prepare import accelerator, engine
from heteropd.system import LocalRunner
from heteropd.topology import Context, Timeouts

STATE_VARIABLE = "HETEROPD_STATE_DIR"


def prepare(root: Path) -> Path:
    """Make the engine's environment and the default model unless they are there; the model's folder."""
    pins = env.load(root).standin
    runner = LocalRunner()
    engine.require_writable(pins)
    engine.ensure(pins, root, runner, _say)
    return engine.ensure_model(pins, root, runner, _say)


def real_engine(root: Path, plan: Plan) -> Path | None:
    """The Python of the plan's real engine; None without one. Asks for the GPU and the driver first.

    Raises MissingPrerequisite.
    """
    return accelerator.python_of(plan, env.load(root), root, LocalRunner(), _say)


def could_be_real(plan: Plan) -> str | None:
    """What to say where every engine is a stand-in and this machine has a GPU."""
    if plan.runtime != "process" or any(not role.standin for role in plan.engines):
        return None
    gpu = accelerator.find_gpu(LocalRunner())
    return f"this machine has an {gpu.name}: standin=gaudi runs the CUDA engine on it" if gpu else None


def prepare_for_containers(root: Path, plan: Plan) -> Path | None:
    """The default model for a plan whose engines are containers: converted by their image on first use.

    None where the plan loads another model. Raises BadInput without the image, MissingPrerequisite without
    an engine on a host of the plan, or here where the model comes from here.
    """
    known = env.load(root)
    package = plan.model_source.startswith("package:")
    for url in {*of_plan(plan), *([address()] if package else [])}:
        connect(known.images.engine, url).close()
    if not package:
        return None
    engine.require_writable(known.standin)
    image = next(role.container.image for role in plan.engines if role.container)
    return engine.ensure_model_with_image(known.standin, image, _say)


def context(root: Path, model: Path | None = None, *, aside: bool = False) -> Context:
    """What topologies of this checkout run with; ``model`` as in `with_model`. ``aside`` has them say
    everything to stderr."""
    known = env.load(root)
    found = Context(
        root=root,
        console=console(stderr=aside),
        engine_python=engine.environment(known.standin).python(root),
        images={str(name): image for name, image in known.images.images.items()},
        timeouts=Timeouts(**known.defaults.timeouts.model_dump()),
        state_dir=Path(os.environ.get(STATE_VARIABLE, root / ".heteropd")),
    )
    return with_model(found, model)


def build_context(root: Path) -> BuildContext:
    """What the images room works with."""
    return BuildContext(root, env.load(root), console())


def with_model(found: Context, model: Path | None) -> Context:
    """The context where ``model`` stands for ``package:…`` in a plan."""
    return replace(
        found, model_dir=lambda source: model if model and source.startswith("package:") else source
    )


def with_patience(found: Context, plan: Plan) -> Context:
    """The context that waits for a start as long as the plan says."""
    if plan.ready_timeout is None:
        return found
    return replace(found, timeouts=replace(found.timeouts, ready=plan.ready_timeout))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
