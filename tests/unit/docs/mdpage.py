"""Pages as data: fenced blocks, words between backticks, links, headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


@dataclass(frozen=True)
class Fence:
    """A fenced block. ``line`` is the number of its first line of content."""

    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """A page of the repository. ``name`` is its path from the root."""

    name: str
    text: str

    @staticmethod
    def read(root: Path, path: Path) -> Page:
        return Page(str(path.relative_to(root)), path.read_text(encoding="utf-8"))

    def fences(self) -> list[Fence]:
        found, begun = [], None
        lines = self.text.splitlines()
        for number, line in enumerate(lines, 1):
            if not line.lstrip().startswith("```"):
                continue
            if begun is None:
                begun = number, line.strip().removeprefix("```")
            else:
                found.append(Fence(begun[0] + 1, begun[1], "\n".join(lines[begun[0] : number - 1])))
                begun = None
        assert begun is None, f"{self.name}:{begun}: a block is not closed"
        return found

    def prose(self) -> str:
        """The text with fenced blocks blanked out; lines keep their numbers."""
        kept, inside = [], False
        for line in self.text.splitlines():
            fence = line.lstrip().startswith("```")
            kept.append("" if inside or fence else line)
            inside = inside != fence
        return "\n".join(kept)

    def spans(self) -> Iterator[tuple[int, str]]:
        """What stands between backticks, with its line."""
        text = self.prose()
        for match in _SPAN.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, " ".join(match[1].split())

    def links(self) -> Iterator[tuple[int, str]]:
        """Targets of links, with their lines."""
        text = _SPAN.sub(lambda match: "`" + "\n" * match[0].count("\n") + "`", self.prose())
        for match in _LINK.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, match[1]

    def anchors(self) -> set[str]:
        """What GitHub makes of the headings."""
        seen: Counter[str] = Counter()
        for line in self.prose().splitlines():
            if re.match(r"#{1,6} ", line):
                title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip())
                slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
                seen[slug] += 1
        return {slug if nth == 0 else f"{slug}-{nth}" for slug, count in seen.items() for nth in range(count)}
