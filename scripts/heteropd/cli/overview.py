"""All verbs in a list: what `make help` and `heteropd help` print. Any Python 3 can run this."""

import sys

from heteropd.cli.table import GROUPS


def overview(*, make: bool) -> str:
    """The verbs in their groups, as targets of make or as verbs of the kit."""
    lines = []
    for title, verbs in GROUPS.items():
        shown = [verb for verb in verbs if (verb.session or verb.name == "setup" if make else verb.function)]
        lines += [f"{title}:", *(f"  {'make ' * make}{verb.name:<12} {verb.text}" for verb in shown), ""]
    each = "make VERB help=1" if make else "heteropd VERB --help"
    lines.append(f"Options of a verb: {each}. Parameters (NAME=VALUE) and what wins: docs/parameters.md.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(overview(make=True))
