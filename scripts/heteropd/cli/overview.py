"""All verbs in a list: what `make help` and `heteropd help` print. Any Python from 3.10 on can run this."""

import sys

from heteropd.cli.parser import WHERE
from heteropd.cli.sessions import session_help
from heteropd.cli.table import BY_NAME, GROUPS
from heteropd.errors import BadInput, did_you_mean


def overview(*, make: bool) -> str:
    """The verbs in their groups, as targets of make or as verbs of the kit."""
    lines = []
    for title, verbs in GROUPS.items():
        shown = [verb for verb in verbs if (verb.session or verb.name == "setup" if make else verb.function)]
        lines += [f"{title}:", *(f"  {'make ' * make}{verb.name:<12} {verb.text}" for verb in shown), ""]
    each = "make VERB help=1" if make else "heteropd VERB --help"
    lines.append(f"Options of a verb: {each}. Parameters (NAME=VALUE) and what wins: docs/parameters.md.")
    return "\n".join(lines) + "\n"


def target(name: str, words: list[str]) -> str:
    """What make prints of a target that no session is. Raises BadInput for one that is not known."""
    if name == "help":
        return overview(make=True)
    if name in BY_NAME:
        return session_help(BY_NAME[name], words) or ""
    known = ["help", *(verb.name for verb in BY_NAME.values() if verb.session or not verb.function)]
    raise BadInput(WHERE, "target", name, "is not known", did_you_mean(name, known, "`make help`"))


if __name__ == "__main__":
    try:
        sys.stdout.write(target(sys.argv[1], sys.argv[2:]))
    except BadInput as stop:
        print(f"heteropd: {stop}", file=sys.stderr)
        sys.exit(stop.exit_code)
