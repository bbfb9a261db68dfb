"""Options of `bench` and `soak`: the fields of env/bench.yaml, with what it says for each."""

from dataclasses import replace

from heteropd.cli.more_options import option
from heteropd.cli.options import Option
from heteropd.config import bench
from heteropd.config.checkout import root

_SETTINGS = bench.load(root())


def _options(*sections: str) -> tuple[Option, ...]:
    """Of sections that have fields of one name: one option, whose help says what it is for each."""
    options: dict[str, Option] = {}
    texts: dict[str, dict[str, dict[str, list[str]]]] = {}  # option, text, default, sections
    for section in sections:
        settings = getattr(_SETTINGS, section)
        for name, field in type(settings).model_fields.items():
            made = options[name] = option(name, field)
            defaults = texts.setdefault(name, {}).setdefault(made.help, {})
            defaults.setdefault(_shown(getattr(settings, name)), []).append(section)
    return tuple(replace(made, help=_help(texts[name], sections)) for name, made in options.items())


def _help(texts: dict[str, dict[str, list[str]]], sections: tuple[str, ...]) -> str:
    parts = []
    for text, defaults in texts.items():
        owners = {value: "what=" + ",".join(names) for value, names in defaults.items()}
        of = [f"{owner if len(sections) > 1 else 'default'}: {value}" for value, owner in owners.items()]
        parts.append(f"{text} ({'; '.join(of)})")
    return "; or ".join(parts)


def _shown(value: object) -> str:
    """As the command line takes it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else str(int(value)) if isinstance(value, bool) else str(value)


BENCH = _options("router", "engines", "bringup", "kv", "load")
SOAK = _options("soak")
