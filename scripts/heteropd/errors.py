"""What the kit says when it stops: one line, and an exit code that means something.

Exit codes, everywhere: 0 good, 1 a verdict that failed or a topology that did not come up, 2 bad input
or a missing prerequisite, 130 interrupted.
"""

import difflib
import re
from collections.abc import Iterable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class KitError(Exception):
    """A stop that the user can act on. Printed as one line, never as a traceback."""

    exit_code = EXIT_FAILED


class BadInput(KitError):
    """What was asked for cannot be done as asked; nothing was started.

    The message names the place (file or ``command line``), the field, the value found there, what is
    wrong with it and the fix: ``env/cases/case1.yaml: prefill.block_size: 0: must be at least 1; …``.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(self, where: str, field: str | None, value: object, problem: str, fix: str) -> None:
        self.where, self.field, self.value, self.problem, self.fix = where, field, value, problem, fix
        parts = [where]
        if field is not None:
            parts += [field] if value is None else [field, _shown(value)]
        super().__init__(_one_line(": ".join([*parts, f"{problem}; {fix}"])))


class MissingPrerequisite(KitError):
    """This machine lacks something; says what, and how to get it."""

    exit_code = EXIT_BAD_INPUT

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        super().__init__(_one_line(f"{what}; {fix}"))


class TopologyFailed(KitError):
    """A role died, or did not become ready in time. May carry the role's last log lines."""

    def __init__(self, message: str, log_tail: list[str] | None = None, hint: str | None = None) -> None:
        self.log_tail = log_tail or []
        self.hint = hint
        super().__init__(_one_line(message))


class Interrupted(KitError):
    """SIGINT or SIGTERM arrived; everything that was started has been ended."""

    exit_code = EXIT_INTERRUPTED


# What nobody wants in a terminal or a log: a password in an address, what stands behind a secret's name.
_SECRETS = (
    (re.compile(r"(\b[\w.-]+:)[^\s:@/'\"]+@(?!sha256)"), r"\1…@"),
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@", re.IGNORECASE), r"\1…@"),
    (re.compile(r"\b(hf_|sk-|gh[pousr]_|github_pat_|glpat-|nvapi-)[\w-]{8,}"), r"\1…"),
    (
        re.compile(
            r"((?:api[-_]?key|token|secret|password)['\"]?(\s*[=:]\s*|\s+)['\"]?)[^\s'\"]+", re.IGNORECASE
        ),
        r"\1…",
    ),
)


def masked(text: str) -> str:
    """The text without what looks like a secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


_MANY = 12


def did_you_mean(wrong: str, known: Iterable[str], listed: str = "") -> str:
    """The fix for a name that is not known: the nearest name, or all names; where these are many, that
    ``listed`` lists them."""
    names = sorted(known)
    close = nearest(wrong, names)
    if close:
        return f"did you mean {close!r}?"
    if listed and len(names) > _MANY:
        return f"choose one of the {len(names)} that {listed} lists"
    return f"choose one of: {', '.join(names)}" if names else "leave it out"


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """The known name that a wrong one is nearest to, if any is near."""
    return next(iter(difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)), None)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shown(value: object, limit: int = 120) -> str:
    text = masked(repr(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"
