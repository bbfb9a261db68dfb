"""The verbs: each joins the rooms in one direction, env -> plan -> run -> verdict; returns an exit status."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from heteropd.app import plans
from heteropd.cli import image_verbs
from heteropd.config.arguments import Arguments
from heteropd.config.checkout import root
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput

if TYPE_CHECKING:
    from heteropd.plan.model import Plan
    from heteropd.topology import Context


_ELSEWHERE = ("hosts", "ssh_config")


def run(words: list[str]) -> int:
    """Bring a case up and prove it: what `make case1` does. The topology stays up, whatever the verdict."""
    from heteropd import topology

    if plans.only_shown(words):
        return EXIT_OK
    plan, context = plans.ready_to_start(words)
    with topology.InterruptScope(context) as scope:
        return plans.prove(topology.up(plan, context, scope=scope), context)


def up(words: list[str]) -> int:
    """Bring a case up and wait until it answers."""
    from heteropd import topology

    if plans.only_shown(words):
        return EXIT_OK
    plan, context = plans.ready_to_start(words)
    topology.up(plan, context)
    return EXIT_OK


def plan(words: list[str]) -> int:
    """Print what would run."""
    from heteropd import export
    from heteropd.config import env

    parsed = Arguments(words, options=("format", "case"))
    case = [parsed.options["case"]] if "case" in parsed.options else []
    form = parsed.options.get("format", "table")
    pods = form == "k8s"
    chosen = any(word.startswith("runtime=") for word in parsed.rest)
    rendered = plans.planned([*case, *parsed.rest, *(["runtime=docker"] if pods and not chosen else [])])
    sys.stdout.write(export.render(rendered, form, env.load(root()) if pods else None))
    sys.stderr.writelines(f"{line}\n" for line in export.beside(rendered, form))
    return EXIT_OK


def validate(words: list[str]) -> int:
    """Prove the running topology; 0 or 1."""
    from heteropd.topology import running

    Arguments(words).none_left("validate")
    context = plans.context()
    return plans.prove(running(context), context)


def status(words: list[str]) -> int:
    """Say what is running."""
    from heteropd import topology

    parsed = Arguments(words, flags=("json",), options=_ELSEWHERE)
    parsed.none_left("status")
    context = plans.located(parsed)
    found = topology.status(context)
    if "json" in parsed.flags:
        sys.stdout.write(json.dumps(found.model_dump(mode="json"), indent=2) + "\n")
    else:
        found.show(context.console)
    return EXIT_OK


def logs(words: list[str]) -> int:
    """Print or follow logs."""
    from heteropd import topology

    parsed = Arguments(words, flags=("follow",), options=("tail", "role", *_ELSEWHERE))
    names = [*parsed.rest, *([parsed.options["role"]] if "role" in parsed.options else [])]
    tail = parsed.options.get("tail", "50")
    if not tail.isdigit():
        raise BadInput("command line", "tail", tail, "is not a number of lines", "tail=50")
    if len(names) > 1:
        said = " ".join(names)
        raise BadInput("command line", "role", said, "is more than one role", "name one, or none for all")
    role = names[0] if names else None
    topology.logs(plans.located(parsed), role, follow="follow" in parsed.flags, tail=int(tail))
    return EXIT_OK


def down(words: list[str]) -> int:
    """End the topology."""
    from heteropd import topology

    parsed = Arguments(words, options=_ELSEWHERE)
    parsed.none_left("down")
    context = plans.located(parsed)
    report = topology.down(context)
    report.show(context.console)
    return EXIT_OK if report.ok else EXIT_FAILED


def restart(words: list[str]) -> int:
    """Restart a role of the running topology, and what must go with it."""
    from heteropd import topology

    parsed = Arguments(words, options=("role", *_ELSEWHERE))
    names = [*parsed.rest, *([parsed.options["role"]] if "role" in parsed.options else [])]
    if len(names) != 1:
        raise BadInput(
            "command line", "role", " ".join(names), "is not one role", "name one: restart decode-0"
        )
    topology.restart(names[0], plans.as_started(plans.located(parsed)))
    return EXIT_OK


def drill(words: list[str]) -> int:
    """Break parts of the running topology on purpose: is what is promised for that kept? 0 or 1."""
    from heteropd import topology
    from heteropd.config import env
    from heteropd.drills import command
    from heteropd.topology import running

    parsed = Arguments(words, flags=command.FLAGS, options=command.OPTIONS)
    known = env.load(root()).cases
    named = [parsed.options["case"]] if "case" in parsed.options else []
    case = [*named, *(word for word in parsed.rest if word in known)]
    parsed.rest = [word for word in parsed.rest if word not in known]

    def ready(consent: Callable[[Plan], None]) -> Context:
        """What runs; a case that is named is brought up first, as by `up`."""
        if not case:
            context = plans.located(parsed)
            consent(running(context).plan)
            return plans.as_started(context)
        elsewhere = [f"{name}={parsed.options[name]}" for name in _ELSEWHERE if name in parsed.options]
        plan, context = plans.ready_to_start([*case, *elsewhere], aside="json" in parsed.flags)
        consent(plan)
        topology.up(plan, context)
        return context

    return command.run(parsed, ready)


def prepare(words: list[str]) -> int:
    """Make the stand-in engine's environment and the default model, without starting anything."""
    Arguments(words).none_left("prepare")
    plans.prepare()
    return EXIT_OK


def schema(words: list[str]) -> int:
    """Write env/schema/*.json, and what pages of docs/ are made of: rules, checks, drills."""
    from heteropd.config import env
    from heteropd.config import schema as room
    from heteropd.doctor import pages
    from heteropd.drills import catalogue, report
    from heteropd.plan import page

    Arguments(words).none_left("schema")
    room.export(root() / "env" / "schema")
    pages.export(root())
    page.export(env.load(root()), root())
    report.export_catalogue(root(), catalogue.load(root()))
    return EXIT_OK


def clean(words: list[str]) -> int:
    """Remove .nox and .heteropd; refuses while something runs."""
    from heteropd import topology

    Arguments(words).none_left("clean")
    context = plans.context()
    if topology.load(context) is not None:
        raise BadInput("clean", "topology", "running", "would lose its state", "`make down` first")
    topology.down(context)  # what runs without a state, too
    for folder in (context.state_dir, root() / ".nox"):
        shutil.rmtree(folder, ignore_errors=True)
    return EXIT_OK


def help_(words: list[str]) -> int:
    """List the verbs."""
    del words
    for name, verb in VERBS.items():
        sys.stdout.write(f"  {name:<10}{(verb.__doc__ or '').splitlines()[0]}\n")
    return EXIT_OK


def doctor(words: list[str]) -> int:
    """Check hosts for what engines need, and a running topology; 0 or 1."""
    from heteropd.doctor import command

    return command.run(words, plans.planned, plans.context())


def hosts(words: list[str]) -> int:
    """Write a hosts file from what nodes say of themselves over ssh."""
    from heteropd.hosts_init import command

    return command.run(words, root())


def infra(words: list[str]) -> int:
    """Test hosts and what runs on them, or an image: 0 or 1."""
    from heteropd.infra import command

    if command.names_image(words):
        return image_verbs.infra(words)
    return command.run(words, plans.planned, plans.context())


def bench(words: list[str]) -> int:
    """Measure bringup, router or engines."""
    from heteropd.bench import command

    what = [word.removeprefix("what=") for word in words]
    plans.prepare()
    return command.main(what, root())


VERBS: dict[str, Callable[[list[str]], int]] = {
    "run": run,
    "up": up,
    "plan": plan,
    "validate": validate,
    "status": status,
    "logs": logs,
    "restart": restart,
    "drill": drill,
    "down": down,
    "prepare": prepare,
    "doctor": doctor,
    "hosts": hosts,
    "infra": infra,
    "bench": bench,
    **image_verbs.VERBS,
    "schema": schema,
    "clean": clean,
    "help": help_,
}
