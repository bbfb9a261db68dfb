"""Turns what pydantic found into the one line a user can act on."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from heteropd.errors import BadInput, did_you_mean

Model = TypeVar("Model", bound=BaseModel)

_TYPES = {
    "int_type": ("must be a whole number", "write digits, without a fraction; in a file, without quotes"),
    "int_from_float": ("must be a whole number", "write digits, without a fraction"),
    "float_type": ("must be a number", "write digits; in a file, without quotes"),
    "bool_type": ("must be true or false", "write true or false; in a file, without quotes"),
    "string_type": ("must be text", "put it in quotes"),
    "list_type": ("must be a list", "write it as [a, b] or one '- item' a line"),
    "dict_type": ("must be a mapping", "write it as 'key: value' lines"),
    "model_type": ("must be a mapping", "write it as 'key: value' lines"),
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
}


def validate(model: type[Model], data: Mapping[str, Any], where: str) -> Model:
    """Validate ``data`` against ``model``. Raises BadInput for the first problem, named by its field path."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise from_pydantic(error, model, where) from None


def from_pydantic(error: ValidationError, model: type[BaseModel], where: str) -> BadInput:
    """The first of the errors as BadInput. An unknown key goes first: a typo also makes a key 'missing'."""
    problems = error.errors(include_url=False)
    first = min(problems, key=lambda entry: entry["type"] != "extra_forbidden")
    field = ".".join(str(part) for part in first["loc"] if part != "[key]") or None
    problem, fix = _explained(first["type"], first.get("ctx", {}), str(first["msg"]))
    value = first["input"]
    if first["type"] == "extra_forbidden":
        problem, fix = "unknown key", did_you_mean(str(first["loc"][-1]), _keys_at(model, first["loc"][:-1]))
    elif first["type"] == "missing":
        value, problem, fix = None, "missing", f"add '{first['loc'][-1]}:' to it"
    elif value is None:
        problem = f"null: {problem}"
    return BadInput(where, field, value, problem, fix)


def _explained(kind: str, context: Mapping[str, Any], message: str) -> tuple[str, str]:
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "literal_error":
        return "not a known choice", f"use {context['expected']}"
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        bound = f"{words} {context[limit]}"
        return f"must be {bound}", f"use a number that is {bound}"
    if kind == "value_error":
        problem, _, fix = str(context["error"]).partition("; ")
        return problem, fix or "correct it"
    if kind in ("too_short", "string_too_short"):
        return "is empty", "fill it in"
    return message[:1].lower() + message[1:], "see env/schema for what may stand here"


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand at a path of the data. Keys of a mapping and list indices name no model."""
    current = model
    for part in path:
        field = current.model_fields.get(str(part))
        current = (_model_in(field.annotation) if field else None) or current
    return list(current.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as ``dict[str, Model]`` or ``Model | None`` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
