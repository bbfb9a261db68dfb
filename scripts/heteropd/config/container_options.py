"""What a container is started with, typed: read from YAML, or from the words of ``docker run``.

Renderers are elsewhere: docker-py's in `containers`, compose's and Kubernetes' in `export`.
"""

import argparse
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from heteropd.config import problems
from heteropd.config.types import Data, EnvName, Word, matching, unique
from heteropd.errors import BadInput

Size = Annotated[
    str, matching(r"[0-9]+(\.[0-9]+)?[bkmgtBKMGT]?[bB]?", "is not a size", "write 8g, 512m or bytes")
]
Device = Annotated[
    str,
    matching(
        r"/[^:]+(:/[^:]+)?(:[rwm]{1,3})?", "is not a device", "write /dev/NAME, or /dev/HOST:/dev/CONTAINER"
    ),
]
Volume = Annotated[
    str,
    matching(
        r"(/[^:]+|[A-Za-z0-9][\w.-]+):/[^:]+(:[\w,]+)?", "is not a volume", "write /HOST:/CONTAINER, or …:ro"
    ),
]
Cores = Annotated[str, matching(r"[0-9]+([-,][0-9]+)*", "is not a list of cores", "write 0-7,16")]


def _checked_gpus(value: Any) -> Any:
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    if isinstance(value, list) and value and all(isinstance(entry, str | int) for entry in value):
        return unique([str(entry) for entry in value])
    raise ValueError("is not a choice of GPUs; write all, a number, or device ids: [0, 2]")


Gpus = Annotated[str | int | list[str], BeforeValidator(_checked_gpus)]


class Ulimit(Data):
    """A limit of the processes; -1 is none. A file may say one number, or SOFT:HARD."""

    soft: Annotated[int, Field(ge=-1)]
    hard: Annotated[int, Field(ge=-1)]

    @model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"soft": value, "hard": value}
        if isinstance(value, str):
            soft, _, hard = value.partition(":")
            try:
                return {"soft": int(soft), "hard": int(hard or soft)}
            except ValueError:
                raise ValueError("is not a limit; write -1, a number, or SOFT:HARD") from None
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "integer"}, {"type": "string"}, handler(schema)]}

    def __str__(self) -> str:
        return str(self.soft) if self.soft == self.hard else f"{self.soft}:{self.hard}"


class ContainerOptions(Data):
    """Options of a container, by the names of compose files; a file may say the words of ``docker run``."""

    privileged: bool = False
    network: Word | None = None
    ipc: Word | None = None
    pid: Word | None = None
    runtime: Word | None = None
    user: Word | None = None
    shm_size: Size | None = None
    memory: Size | None = None
    cpuset: Cores | None = None
    gpus: Gpus | None = Field(default=None, description="all, a number, or a list of device ids")
    devices: list[Device] = Field(default_factory=list)
    env: dict[EnvName, Word] = Field(default_factory=dict)
    ulimits: dict[str, Ulimit] = Field(default_factory=dict)
    cap_add: list[Word] = Field(default_factory=list)
    group_add: list[Word] = Field(default_factory=list)
    security_opt: list[Word] = Field(default_factory=list)
    volumes: list[Volume] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        return _fields(value) if isinstance(value, list) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "array", "items": {"type": "string"}}]}

    def merged(self, more: Self) -> Self:
        """These and those: single values of ``more`` win, lists and mappings grow."""
        ours, theirs = self.model_dump(), more.model_dump(exclude_defaults=True)
        for name, value in theirs.items():
            if name in _MAPPINGS:
                theirs[name] = ours[name] | value
            elif name in _LISTS:
                theirs[name] = list(dict.fromkeys([*ours[name], *value]))
        return type(self).model_validate(ours | theirs)

    def entries(self) -> list[tuple[str, Any, str]]:
        """All that is said: the field, its value (a list's or mapping's one by one), and docker's word."""
        given = self.model_dump(exclude_defaults=True)
        return [entry for name in type(self).model_fields if name in given for entry in _entries(self, name)]

    def words(self) -> list[str]:
        """The words of ``docker run``."""
        return [word for _, _, word in self.entries()]


def parse(words: Sequence[str], where: str) -> ContainerOptions:
    """Options from the words of ``docker run``. Raises BadInput, naming ``where``, for what is not known."""
    try:
        fields = _fields(words)
    except ValueError as problem:
        what, _, fix = str(problem).partition("; ")
        raise BadInput(where, "container args", " ".join(words), what, fix) from None
    return problems.validate(ContainerOptions, fields, where)


_MAPPINGS = ("env", "ulimits")
_LISTS = ("devices", "cap_add", "group_add", "security_opt", "volumes")
_WORDS: dict[str, tuple[str, ...]] = {
    "network": ("--net", "--network"),
    "ipc": ("--ipc",),
    "pid": ("--pid",),
    "runtime": ("--runtime",),
    "user": ("--user", "-u"),
    "shm_size": ("--shm-size",),
    "memory": ("--memory", "-m"),
    "cpuset": ("--cpuset-cpus",),
    "gpus": ("--gpus",),
    "devices": ("--device",),
    "env": ("--env", "-e"),
    "ulimits": ("--ulimit",),
    "cap_add": ("--cap-add",),
    "group_add": ("--group-add",),
    "security_opt": ("--security-opt",),
    "volumes": ("--volume", "-v"),
}


class Parser(argparse.ArgumentParser):
    """Raises ValueError for words that it cannot read."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}{self.epilog or ''}")


def _fields(words: Sequence[str]) -> dict[str, Any]:
    """Fields of `ContainerOptions` from words such as ``--gpus=2`` or ``-v /a:/b``. Raises ValueError."""
    parser = Parser(add_help=False, allow_abbrev=False, epilog="; see `docker run --help`")
    parser.add_argument("--privileged", nargs="?", const="true", choices=("true", "false"))
    for name, options in _WORDS.items():
        repeated = name in (*_LISTS, *_MAPPINGS)
        parser.add_argument(*options, dest=name, action="append" if repeated else "store")
    known, unknown = parser.parse_known_args([str(word) for word in words])
    if unknown:
        names = ", ".join(sorted(["--privileged", *(options[0] for options in _WORDS.values())]))
        raise ValueError(f"{unknown[0]!r} is not a known option of a container; known: {names}")
    fields = {name: value for name, value in vars(known).items() if value is not None}
    if "privileged" in fields:
        fields["privileged"] = fields["privileged"] == "true"
    for name in _MAPPINGS:
        if name in fields:
            fields[name] = dict(_pair(entry) for entry in fields[name])
    if "gpus" in fields:
        fields["gpus"] = _gpus(fields["gpus"])
    return fields


def _pair(entry: str) -> tuple[str, str]:
    name, equals, value = entry.partition("=")
    if not equals:
        raise ValueError(f"{entry!r} has no value; write NAME=VALUE")
    return name, value


def _gpus(value: str) -> str | int | list[str]:
    """docker's value: ``all``, ``2``, or ``"device=0,2"``, whose quotes belong to it."""
    text = value.strip('"')
    if text.startswith("device="):
        return text.removeprefix("device=").split(",")
    return int(text) if text.isdigit() else text


def _entries(options: ContainerOptions, name: str) -> list[tuple[str, Any, str]]:
    value = getattr(options, name)
    if name == "privileged":
        return [(name, True, "--privileged")]
    option = _WORDS[name][0]
    if name == "gpus" and isinstance(value, list):
        return [(name, value, f'{option}="device={",".join(value)}"')]
    if isinstance(value, dict):
        return [(name, pair, f"{option}={pair[0]}={pair[1]}") for pair in value.items()]
    return [(name, entry, f"{option}={entry}") for entry in (value if isinstance(value, list) else [value])]
