"""The verb `version`."""

import sys
import tomllib

from heteropd.config.checkout import root
from heteropd.errors import EXIT_OK


def version() -> int:
    """Print the kit's version: that of the checkout, whatever is installed."""
    project = tomllib.loads((root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    sys.stdout.write(f"{project['name']} {project['version']}\n")
    return EXIT_OK
