"""Programs that run on hosts: standard library, NIXL and numpy, Python 3.10. They are sent, never installed.

A program is one text: its module, after those of this folder that it imports.
"""

import re
from functools import cache
from pathlib import Path

_IMPORT = re.compile(r"^from heteropd\.doctor\.programs\.(\w+) import .*\n", re.MULTILINE)


@cache
def text(name: str) -> str:
    """The program that ``python -c`` takes, with nothing of this package imported any more."""
    return "".join(_parts(name, {}).values())


def _parts(name: str, known: dict[str, str]) -> dict[str, str]:
    source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    for imported in _IMPORT.findall(source):
        if imported not in known:
            _parts(imported, known)
    known[name] = _IMPORT.sub("", source)
    return known
