"""Which prefill meets which decode, where there are several: all of them, or a bounded number. Pure."""

from collections.abc import Iterator, Sequence
from itertools import islice

Names = tuple[str, str]

MOST = 64
"""Pairs that are tried, unless one side has more names: each name is in one at least."""


def crossed(ones: Sequence[str], others: Sequence[str], most: int = MOST) -> list[Names]:
    """Every one with every other but itself; ``most`` of them where they are more, all names among them."""
    return sorted(islice(_all(ones, others), max(most, len(ones), len(others))))


def rounds(pairs: Sequence[Names]) -> list[list[Names]]:
    """The pairs in few rounds, no name twice in one: what is done side by side does not meet anywhere."""
    parts: list[tuple[set[str], list[Names]]] = []
    for pair in pairs:
        free = next((part for part in parts if not part[0] & set(pair)), None)
        if free is None:
            free = (set[str](), list[Names]())
            parts.append(free)
        free[0].update(pair)
        free[1].append(pair)
    return [together for _, together in parts]


def _all(ones: Sequence[str], others: Sequence[str]) -> Iterator[Names]:
    """All pairs of two different names, those first that bring every name once."""
    longer, seen = max(len(ones), len(others)), set[Names]()
    for shift in range(longer):
        for index in range(longer):
            pair = ones[index % len(ones)], others[(index + shift) % len(others)]
            if pair[0] != pair[1] and pair not in seen:
                seen.add(pair)
                yield pair
