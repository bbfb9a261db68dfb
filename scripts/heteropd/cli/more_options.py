"""Options whose names the typed models of env/ tell: a plan's parameters."""

from typing import Any, get_args

from pydantic.fields import FieldInfo

from heteropd.cli.options import Option
from heteropd.cli.table.common import CASE
from heteropd.config.parameters import Parameters


def option(name: str, field: FieldInfo) -> Option:
    """The option that gives a field."""
    text = field.description or ""
    if field.annotation is bool:
        return Option(name, text, "1", "flag")
    parts = _parts(field.annotation)
    choices = [part for part in parts if isinstance(part, str)]
    number = (
        "N"
        if {int, float} & {part for part in parts if isinstance(part, type)}
        else name.rpartition("_")[2].upper()
    )
    return Option(name, text, "|".join(choices) or number)


def _parts(annotation: Any) -> list[Any]:
    """The types, or the choices, that an annotation is made of."""
    inner = get_args(annotation)
    return [part for each in inner for part in _parts(each)] if inner else [annotation]


PLAN = (
    CASE,
    *(option(name, field) for name, field in Parameters.model_fields.items()),
    Option("hosts", "A hosts file; without one, CPU stand-ins on this machine", "FILE"),
    Option("params", "A file of parameters", "FILE"),
    Option("images", "Images by digest, as publish writes them; with runtime=docker", "FILE"),
)
