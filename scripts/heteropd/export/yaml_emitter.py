"""YAML's emitter: libyaml's where PyYAML was built with it; 1,000 engines take many times as long without."""

from collections.abc import Callable
from typing import Any

import yaml

_Emitter: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def emitter(style: Callable[[str], str | None]) -> Any:
    """An emitter that writes a text in the ``style`` that it has: ``|`` a block, None plain if that is safe.
    It makes no aliases."""

    class Texts(_Emitter):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

        def represent_str(self, data: str) -> yaml.ScalarNode:
            node: yaml.ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", data, style=style(data))
            return node

    Texts.add_representer(str, Texts.represent_str)
    return Texts
