"""Lets uv find packages where this site's pip finds them.

uv reads neither pip's configuration nor its variables. A site that has pointed pip at a mirror, a wheel
folder or its own certificate authority should not have to say it twice.
"""

import ast
import sys
from collections.abc import Mapping

from heteropd.system import CommandRunner

# pip's option -> uv's variable. pip separates several values by white space, and so does uv, except that
# UV_FIND_LINKS is separated by commas.
_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def parse(listing: str) -> dict[str, list[str]]:
    """Options from ``pip config list``: lines like ``global.find-links='/srv/wheels'``, in pip's order.

    A later line wins over an earlier one for the same option, as in pip.
    """
    found: dict[str, list[str]] = {}
    for line in listing.splitlines():
        name, separator, quoted = line.partition("=")
        option = name.rpartition(".")[2].strip()
        if separator and option in _VARIABLES:
            found[option] = _unquoted(quoted).split()
    return found


def variables(options: Mapping[str, list[str]], environ: Mapping[str, str]) -> dict[str, str]:
    """uv's variables for pip's options. What the user has set for uv himself stays."""
    result = {}
    for option, values in options.items():
        name = _VARIABLES[option]
        if values and name not in environ:
            result[name] = ("," if option == "find-links" else " ").join(values)
    return result


def read(runner: CommandRunner) -> dict[str, list[str]]:
    """This machine's pip options; empty where there is no pip to ask."""
    for python in dict.fromkeys(
        (sys.executable, getattr(sys, "_base_executable", sys.executable), "python3")
    ):
        listing = runner.run([python, "-m", "pip", "config", "list"])
        if listing.code == 0:
            return parse(listing.out)
    return {}


def _unquoted(text: str) -> str:
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()
    return str(value)
