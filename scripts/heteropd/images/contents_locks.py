"""Reads hashed lock files: which version of what is installed on one Python.

Environment markers of lock files are comparisons joined by ``and`` and ``or``, which Python's own parser
reads; a dependency for that alone would be one more thing to pin.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from heteropd.errors import BadInput

_LINE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(?:;\s*([^\\]+?))?\s*\\?$")
_BY_VERSION = ("python_version", "python_full_version")
_ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def canonical(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def environment(python: str, machine: str) -> dict[str, str]:
    """What markers may ask of CPython on Linux. ``python``: its full version; ``machine``: as uname says."""
    return {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def versions(lock: Path, where: str, asked: Mapping[str, str]) -> dict[str, str]:
    """``{package: version}`` that ``lock`` installs. Raises BadInput for a file or marker it cannot read."""
    try:
        lines = lock.read_text().splitlines()
    except OSError as problem:
        raise BadInput(
            where, None, None, f"cannot be read ({problem.strerror})", "restore it from git"
        ) from None
    found = {}
    for line in lines:
        match = _LINE.match(line)
        if match and (match[3] is None or holds(match[3], asked, where)):
            found[canonical(match[1])] = match[2]
    return found


def holds(marker: str, asked: Mapping[str, str], where: str) -> bool:
    """Whether a marker is true there. Raises BadInput for one that this cannot judge."""
    try:
        return _judge(ast.parse(marker.strip(), mode="eval").body, asked)
    except (SyntaxError, LookupError) as problem:
        raise BadInput(where, "marker", marker, f"is not understood ({problem})", "relock") from None


def _judge(node: ast.expr, asked: Mapping[str, str]) -> bool:
    if isinstance(node, ast.BoolOp):
        join = all if isinstance(node.op, ast.And) else any
        return join(_judge(one, asked) for one in node.values)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        raise LookupError(ast.unparse(node))
    left, right = _text(node.left, asked), _text(node.comparators[0], asked)
    asks = type(node.ops[0])
    if asks in (ast.In, ast.NotIn):
        return (left in right) is (asks is ast.In)
    names = {one.id for one in (node.left, node.comparators[0]) if isinstance(one, ast.Name)}
    if names & set(_BY_VERSION):
        return _ordered(asks, _numbers(left), _numbers(right))
    return _ordered(asks, left, right)


def _ordered(asked: type[ast.cmpop], left: Any, right: Any) -> bool:
    return bool(_ORDERS[asked](left, right))


def _text(node: ast.expr, asked: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return asked[node.id]
    raise LookupError(ast.unparse(node))


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", version)[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))
