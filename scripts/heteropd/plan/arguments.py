"""An engine's arguments as vLLM's own parser reads them: any spelling of an option is that option. Pure.

vLLM takes ``_`` for ``-`` in an option's name, ``--name.key value`` for a part of a JSON value and, as
argparse does, every beginning of a name that means one option alone.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any, Self

from heteropd.config.container_options import Parser
from heteropd.config.vllm_options import VllmOptions

Value = str | bool | tuple[str, ...] | None

TENSOR_PARALLEL = "--tensor-parallel-size"
PARALLEL = (
    TENSOR_PARALLEL,
    "--data-parallel-size",
    "--pipeline-parallel-size",
    "--prefill-context-parallel-size",
)
"""Options that multiply the devices, and the ranks, of an engine."""

_NAME = re.compile(r"(?<=--)[^.]*")
_LEVELS = ("0", "1", "2", "3")


@dataclass(frozen=True)
class EngineArguments:
    """``given``: the options, by the names they are known by, with the value that each ends up with.

    ``unknown``: options that the list has not, and stray words. ``problem``: why the words cannot be read.
    """

    given: dict[str, Value] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    problem: str | None = None

    def text(self, option: str) -> str | None:
        """The option's value, None where it is not given."""
        value = self.given.get(option)
        return " ".join(value) if isinstance(value, tuple) else None if value is None else str(value)

    def number(self, option: str, default: int) -> int:
        """The option's value as a number; ``default`` where it is not given, or is none."""
        text = self.text(option) or ""
        return int(text) if text.isdigit() else default

    def is_on(self, option: str, default: bool = False) -> bool:
        """Whether a flag ends up on."""
        return bool(self.given.get(option, default))

    @property
    def tensor_parallel(self) -> int:
        """Devices that the heads of its model are split over."""
        return self.number(TENSOR_PARALLEL, 1)

    @property
    def ranks(self) -> int:
        """Devices that it opens, each with a rank of its own."""
        return prod(max(1, self.number(option, 1)) for option in PARALLEL)

    def json(self, option: str) -> Any:
        """The option's JSON value; None where it is not given, or is not JSON."""
        try:
            return json.loads(self.text(option) or "null")
        except ValueError:
            return None


def engine_words(argv: Sequence[str]) -> list[str]:
    """The words of an engine's command after ``vllm serve MODEL`` or ``python -m MODULE``."""
    if "serve" in argv[:2]:
        return list(argv[argv.index("serve") + 2 :])
    return list(argv[argv.index("-m") + 2 :]) if "-m" in argv[:3] else list(argv[1:])


def parse(words: Sequence[str], options: VllmOptions) -> EngineArguments:
    """Read the words. Never raises: what cannot be read is the result's ``problem``."""
    return _parse(tuple(words), _Options.of(options))


@dataclass(frozen=True)
class _Options:
    """`VllmOptions` as what a cache may keep."""

    kinds: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]

    @classmethod
    def of(cls, options: VllmOptions) -> Self:
        kinds = ("value", "values", "optional", "repeated", "flag", "switch")
        return cls(tuple((kind, tuple(map(tuple, getattr(options, kind)))) for kind in kinds))


class _Record(argparse.Action):
    """Keeps every option in ``given``: the last of its values, or all of them."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        del parser
        given: dict[str, Value] = namespace.given
        if self.nargs == 0:
            given[self.dest] = not str(option_string).startswith("--no-")
        elif self.const == "repeated":
            given[self.dest] = (*(given.get(self.dest) or ()), values)  # type: ignore[misc]
        else:
            given[self.dest] = tuple(values) if isinstance(values, list) else values


@lru_cache(maxsize=2)
def _parser(options: _Options) -> Parser:
    parser = Parser(add_help=False)
    arity: dict[str, str | int] = {"values": "+", "optional": "?", "flag": 0, "switch": 0}
    for kind, entries in options.kinds:
        for spellings in entries:
            negative = [f"--no-{name.removeprefix('--')}" for name in spellings if name.startswith("--")]
            parser.add_argument(
                *spellings,
                *(negative if kind == "flag" else ()),
                action=_Record,
                dest=spellings[0],
                nargs=arity.get(kind),
                const="repeated" if kind == "repeated" else None,
            )
    return parser


@lru_cache(maxsize=8192)
def _parse(words: tuple[str, ...], options: _Options) -> EngineArguments:
    namespace = argparse.Namespace(given={})
    try:
        _, unknown = _parser(options).parse_known_args(_preprocessed(words), namespace)
    except ValueError as problem:
        return EngineArguments(problem=str(problem))
    return EngineArguments(namespace.given, tuple(unknown))


def _preprocessed(words: Sequence[str]) -> list[str]:
    """The words as vLLM hands them to argparse: names with dashes, dotted keys as JSON at the end."""
    plain: list[str] = []
    dotted: dict[str, dict[str, Any]] = {}
    queue = [_dashed(word) for word in words]
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if name == "-O" and not equals and queue and queue[0] in _LEVELS:
            plain.append("--optimization-level")
        elif word.startswith("-O") and word != "-O":
            plain += ["--optimization-level", word[2:].removeprefix("=")]
        elif word.startswith("-") and "." in name:
            if not equals and not queue:
                raise ValueError(f"argument {word}: expected one argument")
            _gather(dotted, name, value if equals else queue.pop(0))
        else:
            plain.append(word)
    return [*plain, *(part for name, value in dotted.items() for part in (name, json.dumps(value)))]


def _dashed(word: str) -> str:
    name, equals, value = word.partition("=")
    return _NAME.sub(lambda match: match[0].replace("_", "-"), name, count=1) + equals + value


def _gather(dotted: dict[str, dict[str, Any]], name: str, text: str) -> None:
    if name.endswith("+"):
        name, text = name[:-1], json.dumps(text.split(","))
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    option, *keys = name.split(".")
    place = dotted.setdefault(option, {})
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    last = keys[-1]
    if isinstance(value, list) and isinstance(place.get(last), list):
        place[last] = place[last] + value
    else:
        place[last] = value
