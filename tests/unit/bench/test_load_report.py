"""A load result's pages say what was measured, and say unmistakably when it may not be believed."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.bench.load import compare, llmd, report
from heteropd.bench.load.model import LoadResult, Validity
from heteropd.bench.load.plots import distribution
from heteropd.cli.verbs import compare as verb
from heteropd.errors import EXIT_OK, BadInput
from labs import chromium

EXAMPLE = Path(__file__).parent / "load-example.json"
REASON = "the decode recomputed 4,096 prompt tokens <of 8,192>"


@pytest.fixture
def result():
    return LoadResult.model_validate_json(EXAMPLE.read_text())


@pytest.fixture
def invalid(result):
    return result.model_copy(update={"validity": Validity(reasons=[REASON])})


def test_both_forms_hold_arms_loads_evidence_and_caveats(result, tmp_path):
    written = report.write_report(result, tmp_path / "load-x.json")
    assert [file.name for file in written] == ["load-x.md", "load-x.html"]
    for text in (file.read_text() for file in written):
        assert "VALID" in text
        assert "INVALID" not in re.sub(r"<style>.*?</style>", "", text, flags=re.S)
        for told in ("4 clients", "94.4", "7680", "prefill-0 prefills, decode-0 decodes", *result.caveats):
            assert told in text
        assert "PD over the same engines aggregated, at 4 clients: TTFT p50" in text


def test_markdown_tables_are_whole(result):
    tables = re.findall(r"(?:^\|.*\n)+", report.render_markdown(result), re.M)
    assert len(tables) == 5
    for table in tables:
        lines = table.splitlines()
        assert len(lines) > 2
        assert len({line.count(" | ") for line in lines if "---" not in line}) == 1


def test_the_page_draws_every_load_of_both_arms(result):
    page = report.render_page(result)
    titles = ("Latency over load", "Throughput against", "Time to first token", "Time between tokens")
    for title in titles:
        plot = page.split(f"<h2>{title}")[1].split("</figure>")[0]
        assert "<svg" in plot
        assert plot.count('aria-roledescription="line mark"') >= 2
    for axis in ("clients in a closed loop", "TTFT (ms)", "ITL (ms)"):
        assert f">{axis}</text>" in page


def test_rates_are_named_and_drawn_as_they_are(result):
    levels = [
        [
            level.model_copy(update={"value": value})
            for level, value in zip(arm.levels, (0.25, 1), strict=True)
        ]
        for arm in result.arms
    ]
    arms = [
        arm.model_copy(update={"levels": changed}) for arm, changed in zip(result.arms, levels, strict=True)
    ]
    profile = result.profile.model_copy(update={"mode": "poisson", "levels": [0.25, 1]})
    page = report.render_page(result.model_copy(update={"arms": arms, "profile": profile}))
    assert "at 1 request/s:" in page
    axis = page.split("<h2>Latency over load")[1].split("</figure>")[0]
    assert axis.count(">0.25</text>") == 2


def test_what_is_not_valid_is_no_result(invalid):
    page, text = report.render_page(invalid), report.render_markdown(invalid)
    assert '<main class="INVALID">' in page
    assert "<title>INVALID: " in page
    assert REASON.replace("<", "&lt;").replace(">", "&gt;") in page
    assert text.startswith("# INVALID: ")
    assert REASON in text
    for form in (page, text):
        assert "no figure on this page may be quoted" in form
        assert "PD against" not in form


def test_nothing_measured_makes_a_page_too(result):
    arms = [arm.model_copy(update={"levels": []}) for arm in result.arms]
    none = result.model_copy(update={"arms": arms, "validity": Validity(reasons=["no request was answered"])})
    assert "no request was answered" in report.render_page(none)
    assert "no request was answered" in report.render_markdown(none)


def test_a_long_distribution_keeps_its_ends():
    shares = distribution([float(value) for value in range(1, 5001)])
    assert len(shares) <= 102
    assert shares[-1] == (5000.0, 1.0)
    assert distribution([None]) == []


def test_two_results_are_compared_and_what_is_not_valid_is_said(result, invalid, tmp_path):
    (tmp_path / "load-one.json").write_text(result.model_dump_json())
    found = compare.find_result(tmp_path, "load-one")
    assert found == result
    assert compare.find_result(tmp_path, "load-two") is None
    arm = invalid.arms[0]
    levels = [level.model_copy(update={"seconds": level.seconds * 2}) for level in arm.levels]
    arms = [arm.model_copy(update={"levels": levels}), *invalid.arms[1:]]
    slower = invalid.model_copy(update={"arms": arms})
    out = StringIO()
    compare.compare_results(found, slower, Console(file=out, width=200))
    text = out.getvalue()
    (row,) = [line for line in text.splitlines() if line.startswith("1 client, PD: output tokens/s")]
    assert row.split()[-1] == "0.50x"
    assert f"INVALID, 2026-11-26 14:00:00: {REASON}" in text
    assert "Another machine" not in text


def test_llm_d_reads_a_report_of_every_load(result, invalid, tmp_path):
    """By llm-d's own package, which holds the schema."""
    validator = pytest.importorskip("llmd_benchmark_report")
    files = llmd.write_llmd(result, tmp_path / "llm-d")
    assert len(files) == sum(len(arm.levels) for arm in result.arms)
    for file in files:
        validator.load_benchmark_report(json.loads(file.read_text()))
    assert llmd.write_llmd(invalid, tmp_path / "none") == []


@pytest.mark.parametrize("name", ["result", "invalid"])
def test_a_browser_shows_it_without_an_error_or_a_request(name, request, tmp_path, tmp_path_factory):
    program = chromium.find(tmp_path_factory.getbasetemp().parent)
    (_, page) = report.write_report(request.getfixturevalue(name), tmp_path / "load.json")
    opened = chromium.open_page(program, page, tmp_path)
    assert not opened.blank
    assert opened.console == []
    assert opened.requests == []


def test_the_verb_takes_two_of_a_kind(result, tmp_path, monkeypatch, capsys):
    file, verdict = tmp_path / "load-one.json", tmp_path / "verdict.json"
    file.write_text(result.model_dump_json())
    verdict.write_text("{}")
    monkeypatch.setenv("HETEROPD_STATE_DIR", str(tmp_path))
    assert verb.compare(a=str(file), b=str(file)) == EXIT_OK
    assert "1 client, PD: TTFT p50" in capsys.readouterr().out
    for wrong in ((str(file), None), (str(file), str(verdict)), (str(verdict), str(verdict))):
        with pytest.raises(BadInput):
            verb.compare(a=wrong[0], b=wrong[1])
