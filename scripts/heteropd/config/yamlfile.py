"""Reads one YAML file as a mapping, and says in one line what is wrong with it when it is not one."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel

from heteropd.config.problems import validate
from heteropd.errors import BadInput

Model = TypeVar("Model", bound=BaseModel)

_LARGEST_BYTES = 1_000_000
_MOST_VALUES = 100_000
_DEEPEST = 50


class _DuplicateKey(yaml.constructor.ConstructorError):
    pass


class _TooMuch(yaml.constructor.ConstructorError):
    pass


# libyaml's parser, where PyYAML was built with it: a hosts file of 1,000 hosts takes a second without.
_Safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc, valid-type]
    """Refuses a key that is given twice: YAML would silently keep the last. Refuses aliases that multiply."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        values, depth = _extent(node, {}) if node is not None else (0, 0)
        if node is not None and (values > _MOST_VALUES or depth > _DEEPEST + 1):
            problem = (
                f"holds itself, more than {_MOST_VALUES} values or {_DEEPEST} levels, through its aliases"
            )
            raise _TooMuch(None, None, problem, node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = str(key.value)
            if name in seen:
                raise _DuplicateKey(None, None, f"the key {name!r} is given twice", key.start_mark)
            seen.add(name)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def _require_shallow(text: str) -> None:
    """Raise ValueError for nesting that no file of the kit has: of much of it, libyaml would crash."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} deep")


_MENDS: dict[type, str] = {_DuplicateKey: "keep one of the two", _TooMuch: "write the values out"}


def _extent(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node stands for with every alias written out, and how deep; endless within itself."""
    if id(node) not in known:
        known[id(node)] = (_MOST_VALUES + 1, 0)  # while it is being counted
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        extents = [_extent(child, known) for child in inner]
        known[id(node)] = (
            1 + sum(size for size, _ in extents),
            1 + max((deep for _, deep in extents), default=0),
        )
    return known[id(node)]


def shown(path: Path, root: Path) -> str:
    """The path as messages name it: relative to the repository where it lies inside."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def located(value: str, name: str, root: Path) -> Path:
    """The path that the user gave as ``name=``, relative to ``root``. Raises BadInput for what is no path."""
    try:
        if "\0" not in value:
            return root / Path(value).expanduser()
    except RuntimeError:  # ~somebody, and there is no such user
        pass
    raise BadInput("command line", name, value, "is not a path", "give the path of a file or folder")


def read(path: Path, where: str) -> dict[str, Any]:
    """The file's top-level mapping. Raises BadInput when it is missing, no UTF-8 text, and as ``parse``."""
    return parse(_text(path, where), where)


def parse(text: str, where: str) -> dict[str, Any]:
    """The text's top-level mapping.

    Raises BadInput when it is not YAML, empty, has a key twice, grows without measure through its aliases, or
    is something other than a mapping with text keys.
    """
    try:
        _require_shallow(text)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - derives from SafeLoader
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark or bad.context_mark
        line = f":{mark.line + 1}" if mark else ""
        fix = _MENDS.get(type(bad), "correct the YAML there; check indentation, quotes and colons")
        problem = bad.problem or "is not valid YAML"
        raise BadInput(f"{where}{line}", None, None, problem, fix) from None
    except (yaml.YAMLError, ValueError) as bad:
        # ValueError: a scalar that looks like a date but is none (2025-13-99), or an invalid character.
        problem = f"is not valid YAML ({str(bad).splitlines()[0]})"
        raise BadInput(where, None, None, problem, "correct the file") from None
    if data is None:
        raise BadInput(where, None, None, "is empty", "copy a file of the same kind from env/ and fill it in")
    if not isinstance(data, dict):
        problem = f"must be a mapping at the top, not {type(data).__name__}"
        raise BadInput(where, None, None, problem, "write 'key: value' lines")
    for key in data:
        if not isinstance(key, str):
            raise BadInput(where, str(key), data[key], "a key must be text", "put the key in quotes")
    return data


def load(model: type[Model], path: Path, root: Path) -> Model:
    """Read and validate one file. Raises BadInput."""
    where = shown(path, root)
    return validate(model, read(path, where), where)


def _text(path: Path, where: str) -> str:
    try:
        if path.is_dir():
            raise BadInput(where, None, None, "is a folder, not a file", "name a YAML file")
        if path.exists() and not path.is_file():
            raise BadInput(where, None, None, "is not a regular file", "name a YAML file")
        if path.exists() and path.stat().st_size > _LARGEST_BYTES:
            raise BadInput(where, None, None, "is larger than 1 MB", "name a YAML file of the kit")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInput(where, None, None, "no such file", "check the name, or create the file") from None
    except UnicodeDecodeError as bad:
        problem = f"is not UTF-8 text (byte {bad.start})"
        raise BadInput(where, None, None, problem, "save it as UTF-8 text") from None
    except (OSError, ValueError) as bad:
        reason = bad.strerror if isinstance(bad, OSError) else str(bad)
        raise BadInput(where, None, None, f"cannot be read ({reason})", "check the path") from None
