"""What a command line says of a plan: a case, and parameters over those of files and defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PlanArguments:
    """A case and what was given with it, as text by parameter name; ``hosts``, ``params`` and ``images``
    name files. Nothing here is checked yet: `heteropd.config.parameters.resolve` does that."""

    case: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """True where a plan was asked for at all."""
        return self.case is not None or bool(self.given)
