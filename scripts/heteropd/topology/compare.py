"""How two plans differ, in the words that a user gave."""

from collections.abc import Iterator

from heteropd.plan.model import Plan

_SIMPLE = ("case", "pins", "variant", "runtime", "model", "model_source", "agreed_block_size")
_ABSENT = "(none)"


def differences(old: Plan, new: Plan, limit: int = 5) -> list[str]:
    """What changed, as ``name old -> new``: parameters first; details of roles only if nothing else did."""
    changes = [
        f"{name} {getattr(old, name)} -> {getattr(new, name)}"
        for name in _SIMPLE
        if getattr(old, name) != getattr(new, name) and name not in old.parameters
    ]
    changes += list(_changes("", dict(old.parameters), dict(new.parameters)))
    if not changes:
        changes = list(_changes("", old.model_dump(mode="json"), new.model_dump(mode="json")))
    rest = len(changes) - limit
    return [*changes[:limit], f"and {rest} more"] if rest > 0 else changes


def _changes(path: str, old: object, new: object) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _changes(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            label = left.get("name", index) if isinstance(left, dict) else index
            yield from _changes(f"{path}.{label}", left, right)
    elif old != new:
        yield f"{path} {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    text = _ABSENT if value is None else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
