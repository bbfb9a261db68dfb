"""env/vllm-options.yaml: the options of ``vllm serve``, and which of them two engines must share."""

from pydantic import Field

from heteropd.config.types import Data, OneOrMore


class OutOfReach(Data):
    """Options that keep an engine from being one server, on one host, that speaks plain HTTP on its port."""

    options: list[str]
    problem: str
    fix: str


class VllmOptions(Data):
    """Options by what they take; of each its spellings, the one it is known by first."""

    vllm: str = Field(description="Version of vLLM that they were read from")
    value: list[OneOrMore]
    values: list[OneOrMore] = Field(description="One value or more")
    optional: list[OneOrMore] = Field(description="A value, or none")
    repeated: list[OneOrMore] = Field(description="One value each time; all count")
    flag: list[OneOrMore] = Field(description="On, or off with --no-")
    switch: list[OneOrMore]
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
