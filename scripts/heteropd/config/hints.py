"""env/hints.yaml: what a user can do about what engines, Docker and registries say."""

import re
from collections.abc import Iterable
from functools import cache

from pydantic import Field

from heteropd.config import yamlfile
from heteropd.config.checkout import root
from heteropd.config.types import Data


class Hint(Data):
    """What to do about a line in which the pattern is found, in any case."""

    pattern: re.Pattern[str]
    fix: str
    problem: str | None = Field(default=None, description="What it means, where the line does not say it")


class Hints(Data):
    """env/hints.yaml. Of each list the first entry that fits counts."""

    roles: list[Hint] = Field(description="Lines of a role's log")
    last: list[Hint] = Field(description="Lines of it that count for want of any of `roles`")
    docker: list[Hint] = Field(description="What Docker, BuildKit or a registry says")


@cache
def load() -> Hints:
    """The checkout's hints. Raises BadInput."""
    return yamlfile.load(Hints, root() / "env" / "hints.yaml", root())


def first(hints: Iterable[Hint], text: str) -> Hint | None:
    """The first hint that fits."""
    return next((hint for hint in hints if re.search(hint.pattern.pattern, text, re.IGNORECASE)), None)
