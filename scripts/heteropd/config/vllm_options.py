"""env/vllm-options.yaml: the options of ``vllm serve``, and which of them two engines must share."""

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from heteropd.config.types import Data

Spellings = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class OutOfReach(Data):
    """Options that keep an engine from being one server, on one host, that speaks plain HTTP on its port."""

    options: list[str]
    problem: str
    fix: str


class VllmOptions(Data):
    """Options by what they take; of each its spellings, the one it is known by first."""

    vllm: str = Field(description="Version of vLLM that they were read from")
    value: list[Spellings]
    values: list[Spellings] = Field(description="One value or more")
    optional: list[Spellings] = Field(description="A value, or none")
    repeated: list[Spellings] = Field(description="One value each time; all count")
    flag: list[Spellings] = Field(description="On, or off with --no-")
    switch: list[Spellings]
    identical: dict[str, str | None] = Field(
        description="Equal on both sides, else refused; what it is unless it is given"
    )
    alike: dict[str, str | None] = Field(description="Equal on both sides, else warned of")
    decided: dict[str, str] = Field(
        description="Options and variables, and what says the same: {role} is filled in"
    )
    out_of_reach: list[OutOfReach]

    def all(self) -> list[list[str]]:
        """The spellings of every option."""
        return [*self.value, *self.values, *self.optional, *self.repeated, *self.flag, *self.switch]
