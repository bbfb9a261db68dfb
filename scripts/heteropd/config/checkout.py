"""Where the kit runs from."""

from pathlib import Path

from heteropd.errors import BadInput


def root() -> Path:
    """The checkout: the folder that holds env/ and pyproject.toml."""
    here = Path(__file__).resolve().parents[3]
    if not (here / "env").is_dir():
        raise BadInput(str(here), "env", "missing", "the kit runs from its checkout", "git clone it anew")
    return here
