"""Reads a host's facts through testinfra's connection, as the doctor reads them through its own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from heteropd.config.checks import HostLimits
from heteropd.config.env import Env
from heteropd.doctor import targets
from heteropd.doctor.model import ExaminedHost, HostTarget
from heteropd.doctor.probe import read_facts
from heteropd.infra.subjects import Subject
from heteropd.plan.model import Plan, RolePlan
from heteropd.system import Completed


class CommandOutput(Protocol):
    """What testinfra's ``host.run`` returns."""

    rc: int
    stdout: str
    stderr: str


class TestedHost(Protocol):
    """The part of testinfra's host that reading needs."""

    def run(self, command: str) -> CommandOutput: ...


class Through:
    """Runs commands on testinfra's host. It knows no time limit; connecting has one of its own."""

    def __init__(self, host: TestedHost) -> None:
        self._host = host

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        del timeout_s
        try:
            done = self._host.run(shlex.join(argv))
        except RuntimeError as lost:  # ssh's own failure, as testinfra reports it
            return Completed(tuple(argv), 255, "", unreached(lost))
        return Completed(tuple(argv), done.rc, done.stdout, done.stderr)


def unreached(lost: RuntimeError) -> str:
    """Why ssh did not get there, in its own words."""
    message = getattr(lost.args[0], "stderr", "") if lost.args else ""
    return " ".join(str(message).split()) or str(lost)


def target(subject: Subject, plan: Plan, env: Env) -> HostTarget:
    """What the plan wants of this host, or of this container of it."""
    part = plan.model_copy(update={"roles": subject.planned(plan)})
    host = replace(targets.of_plan(part, env, serves=subject.runs)[0], serves=subject.runs)
    if not subject.container:
        return host
    # It is the engine's own container that is looked into: none need be started for the engine's NIXL.
    inside = tuple(replace(engine, launch=("sh",), python="python3") for engine in host.engines)
    return replace(host, engines=inside)


def examine(host: TestedHost, subject: Subject, plan: Plan, env: Env, limits: HostLimits) -> ExaminedHost:
    """The host with its facts; ``facts.trouble`` says why there are none."""
    wanted = target(subject, plan, env)
    return ExaminedHost(wanted, read_facts(Through(host), wanted.model, docker=wanted.docker_url), limits)


def loaded(host: TestedHost, module: str) -> bool:
    """Whether the kernel has a module, loaded or built in."""
    script = '[ -e "/sys/module/$1" ] || grep -qs "/$1.ko" "/lib/modules/$(uname -r)/modules.builtin"'
    return Through(host).run(["sh", "-c", script, "loaded", module]).code == 0


def ucx_info(host: TestedHost, engine: RolePlan) -> str:
    """The ucx_info of the UCX that the plan lets an engine load, if there is one; else the one on PATH."""
    folders = engine.env.get("LD_LIBRARY_PATH", "").split(":")
    beside = [f"{folder.removesuffix('/lib')}/bin/ucx_info" for folder in folders if folder.endswith("/lib")]
    script = 'for file in "$@"; do [ -x "$file" ] && echo "$file" && exit; done; echo ucx_info'
    return Through(host).run(["sh", "-c", script, "find", *beside]).out.strip() or "ucx_info"
