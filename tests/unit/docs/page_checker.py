"""What is wrong with a page: commands that do not run, links that lead nowhere, files that are gone."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mdpage import Fence, Page

from heteropd.cli import parser, table
from heteropd.cli.options import Option, Verb
from heteropd.config import yamlfile
from heteropd.config.arguments import PlanArguments
from heteropd.config.env import Env, load, load_hosts
from heteropd.config.hosts import Hosts, RoleAdditions
from heteropd.config.machine import Machine
from heteropd.config.problems import validate
from heteropd.config.request import resolve
from heteropd.errors import KitError
from heteropd.plan import render

LANGUAGES = ("sh", "text", "yaml", "json", "mermaid")
# Programs that are not the kit's, and words of the shell.
PROGRAMS = {"git", "cd", "curl", "docker", "kubectl", "ssh", "apt", "echo", "for", "do", "done"}
PYTHONS = (".nox/dev/bin/python", ".nox/engine-cpu/bin/python")
# Names of the user's own, or made up for a recipe: nobody expects these files.
MADE_UP = re.compile(r"mine|racks|npu|case3|my-model|engine-gaudi-v0\.26|\.lock\.yaml")
FILLED = "x"
_PLACE = re.compile(r"(?:scripts|env|docs|tests|docker|\.ci|\.github)/[\w./*\-]*")
_PLACEHOLDER = re.compile(r"…|\b[A-Z][A-Z_]+\b|^[A-Z]$")


def problems(page: Page, root: Path) -> list[str]:
    """Everything that is wrong with the page, a line each."""
    found = [(fence.line, text) for fence in page.fences() for text in _of_fence(fence, root)]
    found += [(line, text) for line, span in page.spans() for text in _of_span(span, root)]
    found += [(line, text) for line, target in page.links() for text in _of_link(target, page, root)]
    return [f"{page.name}:{line}: {text}" for line, text in found]


def _of_fence(fence: Fence, root: Path) -> Iterator[str]:
    if fence.language not in LANGUAGES:
        yield f"a block of {fence.language or 'no language'}: say one of {', '.join(LANGUAGES)}"
    elif fence.language == "sh":
        for words in commands(fence.text):
            yield from _of_command(words, root)
    elif fence.language == "yaml":
        yield from _of_yaml(fence.text, root)
    elif fence.language == "json":
        try:
            json.loads(fence.text)
        except ValueError as wrong:
            yield f"JSON: {wrong}"


def commands(text: str) -> list[list[str]]:
    """The simple commands of a shell block, in order; a pipe stays as a word in front of its command."""
    found: list[list[str]] = []
    pending = ""
    for line in text.splitlines():
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        lexer = shlex.shlex(pending, posix=True, punctuation_chars=";|&<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        try:
            words = list(lexer)
        except ValueError:  # a quotation goes on in the next line
            pending += "\n"
            continue
        pending = ""
        one: list[str] = []
        for word in [*words, ";"]:
            if word in (";", "&&", "||", "|", "&"):
                found += [one] if one else []
                one = ["|"] if word == "|" else []
            else:
                one.append(word)
    return [*found, *([shlex.split(pending, posix=False)] if pending.strip() else [])]


def _of_command(words: list[str], root: Path) -> Iterator[str]:
    piped, words = words[0] == "|", [word for word in words if word != "|"]
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if not words:
        return
    program, rest = words[0], _without_redirection(words[1:])
    if any("…" in word for word in words):
        yield f"`{' '.join(words)}` cannot be copied: write a name in capitals for …"
    if program == "make":
        if piped:
            yield "make of make is a pipe: a command a line"
        yield from _of_make(rest, root, copied=True)
    elif program == ".venv/bin/nox":
        yield from _of_nox(rest, root, copied=True)
    elif program == "nox":
        yield "nox is not on the PATH: make VERB, or .venv/bin/nox"
    elif program not in PROGRAMS | set(PYTHONS):
        yield f"{program} is no program that these pages use"
    for word in words[1:]:
        yield from _of_place(word.rpartition("=")[2], root)


def _without_redirection(words: list[str]) -> list[str]:
    if ">" in words:
        at = words.index(">")
        return [*words[:at], *words[at + 2 :]]
    return words


def _of_make(words: list[str], root: Path, *, copied: bool) -> Iterator[str]:
    targets = [word for word in words if "=" not in word]
    given = [word for word in words if "=" in word]
    for target in targets:
        if target not in {"help", *table.BY_NAME}:
            yield f"make {target}: no such target"
        elif target != "help":
            yield from _of_verb(table.BY_NAME[target], given, root, copied=copied)


def _of_nox(words: list[str], root: Path, *, copied: bool) -> Iterator[str]:
    options, _, rest = " ".join(words).partition(" -- ")
    match re.sub(r" --$", "", options).split():
        case ["-l"]:
            return
        case ["-s", *names] if names:
            for name in names:
                if name.isupper():
                    continue
                if name not in table.SESSIONS:
                    yield f"nox -s {name}: no such session"
                else:
                    yield from _of_verb(table.SESSIONS[name], shlex.split(rest), root, copied=copied)
        case _:
            yield f"nox {' '.join(words)}: say -l, or -s NAME"


def _of_verb(verb: Verb, words: list[str], root: Path, *, copied: bool) -> Iterator[str]:
    """What the verb's parser says to the words, placeholders filled in; and the plan that they ask for."""
    if not verb.function:  # pytest's, ruff's or mypy's words
        return
    options = {option.name: option for option in _known(verb)}
    try:
        parsed = parser.parse(verb, [_filled(word, options) for word in words])
        if copied and verb.plans:
            make_plan(parsed["requested"], root)
    except KitError as refusal:
        yield str(refusal)


def _known(verb: Verb) -> list[Option]:
    found = list(verb.options)
    for place in [*([parser.PLAN_OPTIONS] if verb.plans else []), *([verb.more] if verb.more else [])]:
        found += parser.load(place)
    return found


def _filled(word: str, options: dict[str, Option]) -> str:
    name, equals, value = word.partition("=")
    option = options.get(name.removeprefix("--").replace("-", "_").partition(".")[0])
    if equals and option is not None and _PLACEHOLDER.search(value):
        return f"{name}={'1' if option.kind in ('flag', 'count') else FILLED}"
    return word


def make_plan(requested: PlanArguments, root: Path) -> None:
    """Render the plan, with the example for a hosts file of the user's own. Raises KitError."""
    if requested.case is None:
        return
    given = {name: value for name, value in requested.given.items() if value != FILLED}
    if MADE_UP.search(given.get("hosts", "")):
        given["hosts"] = "env/hosts/example.yaml"
    if MADE_UP.search(given.get("model", "")) or given.get("images"):
        given = {name: value for name, value in given.items() if name not in ("model", "images")}
    env = _env(root)
    render(resolve(PlanArguments(requested.case, given), env, root), env, Machine(cores=[0, 1]))


@cache
def _env(root: Path) -> Env:
    return load(root)


def _of_yaml(text: str, root: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "block.yaml"
        file.write_text(text)
        try:
            read = yamlfile.read(file, "block.yaml")
            if {"hosts", "platforms"} <= read.keys():
                load_hosts(file, root)
            elif read.keys() <= set(Hosts.model_fields):
                for additions in read.get("roles", {}).values():
                    validate(RoleAdditions, additions, "block.yaml")
        except KitError as refusal:
            yield str(refusal)


def _of_span(span: str, root: Path) -> Iterator[str]:
    if re.match(r"nox -s|nox -l", span):
        yield f"`{span}`: nox is not on the PATH: make VERB, or .venv/bin/nox"
    words = [word.strip("[]()") for word in _split(span) if word.strip("[]()|,") not in ("", "…")]
    if words[:1] == ["make"] and len(words) > 1 and not words[1].isupper():
        yield from _of_make(words[1:], root, copied=False)
    elif words[:1] == [".venv/bin/nox"] and len(words) > 1:
        yield from _of_nox(words[1:], root, copied=False)
    for word in words if len(words) == 1 else words[1:]:
        yield from _of_place(word.rpartition("=")[2], root)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _of_place(word: str, root: Path) -> Iterator[str]:
    """A path of the repository is there. A pattern matches something."""
    name = word.partition("::")[0].rstrip(".,:")
    if not _PLACE.fullmatch(name) or _PLACEHOLDER.search(name.replace("README", "")) or MADE_UP.search(name):
        return
    if not (any(root.glob(name.rstrip("/"))) if "*" in name else (root / name).exists()):
        yield f"{name} is not there"


def _of_link(target: str, page: Page, root: Path) -> Iterator[str]:
    if re.match(r"https?://", target):
        return
    file, _, anchor = target.partition("#")
    path = (root / page.name).parent / file
    if file and not path.exists():
        yield f"a link to {target}, which is not there"
    elif anchor and anchor not in (Page.read(root, path.resolve()) if file else page).anchors():
        yield f"a link to {target}: no such heading"
