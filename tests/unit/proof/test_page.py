"""A verdict's page says what its Markdown says, and a browser shows it."""

import math
import re

import pytest

from heteropd.proof.report.page import render_page
from labs import chromium


@pytest.fixture
def page(prove, make_plan):
    def write(fault=None, changes=None, **more):
        verdict = prove(fault, **more)
        return render_page(verdict.model_copy(update=changes or {}), make_plan())

    return write


def test_the_conclusion_and_what_it_does_not_claim_come_first(page):
    head = page().split("<h2>Topology")[0]
    assert '<div class="result">PASS<div class="small">stand-ins</div>' in head
    assert "STAND-IN RUN" in head
    assert "does not prove the accelerators" in head


def test_a_failure_is_told_with_its_fix_before_everything_else(page):
    head = page("stale").split("<h2>Topology")[0]
    assert '<header class="FAIL">' in head
    assert "<code>integrity.tokens</code>" in head
    assert "<strong>Fix:</strong>" in head


def test_real_engines_beside_stand_ins_are_in_the_heading(page):
    text = page(changes={"real": {"prefill-0": "cuda"}})
    assert "<title>PASS (mixed): case1, m</title>" in text
    assert '<div class="result">PASS<div class="small">mixed</div>' in text
    assert "MIXED: prefill-0 on cuda real, the rest CPU STAND-IN" in text


def test_every_check_is_in_its_group_and_every_probe_is_drawn(page, prove):
    verdict, text = prove(), page()
    for check in verdict.checks:
        assert f"<code>{check.id}</code>" in text.split(f"<h3>{check.group}")[1].split("<h3>")[0]
    plots = text.split("<h2>Answers against")[1].split("<h2>Noise")[0]
    assert len(re.findall(r'aria-roledescription="point"', plots)) == len(verdict.probes)
    assert "allowed at any position" in plots


@pytest.mark.parametrize("fault", ["decode down", "router refuses"])
def test_what_never_came_is_not_drawn(page, fault):
    text = page(fault)
    assert '<header class="FAIL">' in text
    assert "NaN" not in text


def test_endless_differences_stay_on_the_plot(page, prove):
    verdict = prove()
    endless = [probe.model_copy(update={"distance": math.inf}) for probe in verdict.probes]
    text = page(changes={"probes": [*endless, endless[0].model_copy(update={"distance": None})]})
    assert "Infinity" not in text.split("<h2>Checks")[0]
    assert "1 prompts without a known difference" in text


def test_what_an_engine_says_is_text(page):
    answer = "<script>alert(1)</script>"
    assert answer not in page(changes={"answer": answer})


@pytest.mark.parametrize("fault", [None, "stale"])
def test_a_browser_shows_it_without_an_error_or_a_request(page, fault, tmp_path, tmp_path_factory):
    program = chromium.find(tmp_path_factory.getbasetemp().parent)
    file = tmp_path / "verdict.html"
    file.write_text(page(fault))
    opened = chromium.open_page(program, file, tmp_path)
    assert not opened.blank
    assert opened.console == []
    assert opened.requests == []
