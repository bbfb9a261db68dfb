"""Asks registries and repositories what a tag, a ref or a package is now; changes nothing."""

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from heteropd.config import mirrors
from heteropd.config.lock import Question
from heteropd.errors import BadInput, KitError
from heteropd.images import imagetools
from heteropd.images.context import BuildContext
from heteropd.prepare import environments, pip_settings

_AT_ONCE = 8
_GIT_TIMEOUT_S = 60.0
_PACKAGE_TIMEOUT_S = 120.0
# What the accelerators' images have: packages are wheels for them.
_FOR = ("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28")


@dataclass(frozen=True)
class Found:
    """The answer to a question, or why there is none."""

    value: str | None
    problem: KitError | None = None


def ask(questions: Iterable[Question], context: BuildContext) -> dict[Question, Found]:
    """Every question's answer; each is asked once, several at a time. Raises nothing for one without."""
    questions = sorted(set(questions))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(lambda question: _found(question, context), questions)
        return dict(zip(questions, answers, strict=True))


def _found(question: Question, context: BuildContext) -> Found:
    ways = {"image": _digest, "git": _commit, "package": _version}
    try:
        return Found(ways[question.kind](question, context))
    except KitError as problem:
        return Found(None, problem)


def _digest(question: Question, context: BuildContext) -> str:
    image = mirrors.load(context.root, context.environ).image(question.where)
    found = imagetools.digest(image, context.runner, context.environ)
    if found is None:
        fix = "check the name; a tag may have been removed upstream"
        raise BadInput(image, None, None, "there is no such image", fix)
    return found


def _commit(question: Question, context: BuildContext) -> str:
    remote = mirrors.load(context.root, context.environ).git(question.where)
    # A tag object is not a commit; git lists what it points to as REF^{}.
    refs = [question.what, f"{question.what}^{{}}"]
    environ = {**context.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = context.runner.run(["git", "ls-remote", remote, *refs], env=environ, timeout_s=_GIT_TIMEOUT_S)
    if done.code != 0:
        reason = " ".join(done.err.split())[-200:] or f"exit status {done.code}"
        fix = "check the network, or name a mirror in env/mirrors.yaml"
        raise BadInput(remote, "ref", question.what, f"cannot be asked for ({reason})", fix)
    lines = [line.split("\t", 1) for line in done.out.splitlines() if "\t" in line]
    found = {ref: commit for commit, ref in lines}
    for ref in reversed(refs):
        if ref in found:
            return found[ref]
    raise BadInput(remote, "ref", question.what, "no such ref", "correct 'ref:' or 'follows:' in the pin set")


def _version(question: Question, context: BuildContext) -> str:
    """The newest version that the range allows, where this machine's pip looks."""
    wanted = f"{question.where}{question.what}"
    # The version is for another Python than this machine's: uv must not fetch that one to find it.
    environ = {"UV_PYTHON_DOWNLOADS": "never", **context.environ}
    environ |= pip_settings.variables(pip_settings.read(context.runner), context.environ)
    with TemporaryDirectory(prefix="heteropd-lock-") as folder:
        file = Path(folder) / "wanted.in"
        file.write_text(wanted + "\n")
        argv = [environments.find_uv(), "pip", "compile", "--quiet", "--no-config", "--no-deps"]
        argv += ["--no-header", "--no-annotate", *_FOR, str(file)]
        done = context.runner.run(argv, env=environ, timeout_s=_PACKAGE_TIMEOUT_S)
    name = re.escape(question.where)
    found = re.search(rf"^{name}==(\S+)", done.out, re.MULTILINE | re.IGNORECASE)
    if done.code != 0 or found is None:
        reason = " ".join(done.err.split())[-200:] or f"exit status {done.code}"
        fix = "check the name and 'range:' in the pin set, and the network"
        raise BadInput(wanted, None, None, f"no registry has it ({reason})", fix)
    return found[1]
