"""Every rule has its words, its check and its tests: a module's rules in the test of its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_sides import ENV, ROOT, Given, role, standin

from heteropd.errors import BadInput
from heteropd.plan import page, rules
from heteropd.plan.rules import CHECKS


def test_every_rule_is_tested_from_both_sides() -> None:
    """`each_side` holds every module to its own rules."""
    modules = [path for path in Path(rules.__file__).parent.glob("*.py") if "\n@rule(" in path.read_text()]
    tested = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    assert {f"test_{path.name}" for path in modules} <= tested
    assert set(CHECKS) == set(ENV.rules)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (set(ENV.rules) - {"P18-port-clash"}, "env/rules.yaml: rules.P18-port-clash: missing; "),
        ({*ENV.rules, "P99-x"}, "env/rules.yaml: rules.P99-x: no rule of the planner; "),
    ],
)
def test_a_rule_without_its_words_and_words_without_a_rule_are_refused(
    tmp_path: Path, names: set[str], line: str
) -> None:
    """Not only when the rule is broken."""
    words = {name: ENV.rules.get(name, ENV.rules["P18-port-clash"]) for name in names}
    with pytest.raises(BadInput, match=line):
        standin("case1", lambda env: env.model_copy(update={"rules": words})).plan(tmp_path)


def test_a_refusal_blames_what_the_user_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        standin("case1 prefill_block_size=256").plan(tmp_path)
    assert (refused.value.where, refused.value.field) == ("command line", "prefill_block_size")
    with pytest.raises(BadInput) as refused:
        Given("case1", role("prefill", env={"UCX_TLS": "tcp"})).plan(tmp_path)
    assert refused.value.where.endswith("hosts.yaml")


def test_the_documents_table_is_the_rules() -> None:
    text = (ROOT / page.SECTION.page).read_text()
    assert page.SECTION.within(text) == page.table(ENV), "`make schema` writes it anew"
    assert page.table(ENV).count("\n") == len(CHECKS) + 2
