"""env/rules.yaml: what every plan is held against, in words that refusals, notes and docs/rules.md share."""

from typing import Annotated, Literal

from pydantic import Field

from heteropd.config.types import Data, matching

RuleId = Annotated[str, matching(r"P[0-9]{2}-[a-z0-9-]+", "is not the id of a rule", "write P99-words")]


class RuleEntry(Data):
    """One rule. A broken one that is ``refused`` stops a plan; one that is ``warned`` leaves a note."""

    broken: Literal["refused", "warned"]
    holds: str = Field(description="What must hold")
    source: str = Field(description="Where the failure is known from")


class Rules(Data):
    """env/rules.yaml."""

    rules: dict[RuleId, RuleEntry]
