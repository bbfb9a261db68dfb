"""Sections of docs pages that are made from data: what stands between their markers."""

from __future__ import annotations

from heteropd.errors import BadInput


def between(text: str, made: str, body: str, page: str) -> str:
    """A page's text with ``body`` between the markers of what is ``made from …``; what is around them stays.

    Raises BadInput when the markers are gone.
    """
    before, _, after = _parted(text, made, page)
    return before + body + after


def within(text: str, made: str, page: str) -> str:
    """What a page has between the markers of what is ``made from …``. Raises BadInput when they are gone."""
    return _parted(text, made, page)[1]


def _parted(text: str, made: str, page: str) -> tuple[str, str, str]:
    begin, end = (f"<!-- made from {made}: {word} -->\n" for word in ("begin", "end"))
    before, found, rest = text.partition(begin)
    body, closed, after = rest.partition(end)
    if not found or not closed:
        raise BadInput(page, None, None, "lacks the markers of what is made", "restore it from git")
    return before + begin, body, end + after
