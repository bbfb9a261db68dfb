"""Fills ``{fields}`` of env data. ``${NAME}`` is left alone: it belongs to the process that starts."""

import re
from collections.abc import Mapping, Sequence

from heteropd.errors import BadInput

_FIELD = re.compile(r"(?<!\$)\{([a-z_]+)\}")


def fill(text: str, fields: Mapping[str, str | int], where: str) -> str:
    """``text`` with its fields. Raises BadInput, naming ``where`` it stands, for an unknown field."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in fields:
            known = ", ".join(sorted(fields))
            raise BadInput(where, None, None, f"{text!r} holds an unknown field", f"use one of: {known}")
        return str(fields[name])

    return _FIELD.sub(value, text)


def fill_all(texts: Sequence[str], fields: Mapping[str, str | int], where: str) -> list[str]:
    """`fill` for each."""
    return [fill(text, fields, where) for text in texts]


def fill_env(env: Mapping[str, str], fields: Mapping[str, str | int], where: str) -> dict[str, str]:
    """`fill` for each value."""
    return {name: fill(value, fields, where) for name, value in env.items()}
