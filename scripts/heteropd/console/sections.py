"""Sections of docs pages that are made from data: what stands between their markers."""

from dataclasses import dataclass
from pathlib import Path

from heteropd.errors import BadInput


@dataclass(frozen=True)
class Section:
    """What of a ``page`` is ``made`` from data. Raises BadInput when the page's markers are gone."""

    page: str
    made: str

    def filled(self, text: str, body: str) -> str:
        """The page's ``text`` with ``body`` between the markers; what is around them stays."""
        before, _, after = self._parted(text)
        return before + body + after

    def within(self, text: str) -> str:
        """What the page's ``text`` has between the markers."""
        return self._parted(text)[1]

    def write(self, root: Path, body: str) -> None:
        """Write the section anew."""
        file = root / self.page
        file.write_text(self.filled(file.read_text(encoding="utf-8"), body), encoding="utf-8")

    def _parted(self, text: str) -> tuple[str, str, str]:
        begin, end = (f"<!-- made from {self.made}: {word} -->\n" for word in ("begin", "end"))
        before, found, rest = text.partition(begin)
        body, closed, after = rest.partition(end)
        if not found or not closed:
            raise BadInput(self.page, None, None, "lacks the markers of what is made", "restore it from git")
        return before + begin, body, end + after
