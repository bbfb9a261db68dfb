"""A load result for people: a page with plots, and Markdown, from the same tables."""

from pathlib import Path

from heteropd.bench.load import tables
from heteropd.bench.load.model import LoadResult
from heteropd.bench.load.plots import plots
from heteropd.pages import render


def write_report(result: LoadResult, file: Path) -> list[Path]:
    """Write the result's Markdown and page beside its JSON ``file``; the paths."""
    texts = {".md": render_markdown(result), ".html": render_page(result)}
    for ending, text in texts.items():
        file.with_suffix(ending).write_text(text, encoding="utf-8")
    return [file.with_suffix(ending) for ending in texts]


def render_markdown(result: LoadResult) -> str:
    """The whole report without its plots."""
    return render("load.md.j2", result=result, **_tables(result))


def render_page(result: LoadResult) -> str:
    """The whole report for a browser."""
    return render("load.html.j2", result=result, **_tables(result), plots=plots(result))


def _tables(result: LoadResult) -> dict[str, object]:
    versus = tables.versus(result)
    told = {
        "arms": tables.arms(result),
        "levels": tables.levels(result),
        "evidence": tables.evidence(result),
        "versus": versus,
        "engines": tables.engines(result),
    }
    return {"tables": told, "headline": tables.headline(versus), "shapes": _shapes(result)}


def _shapes(result: LoadResult) -> str:
    return "; ".join(
        f"{shape.name}: {shape.prompt_tokens} tokens in, {shape.output_tokens} out"
        + (f", lengths ±{shape.spread:.0%}" if shape.spread else "")
        for shape in result.profile.shapes
    )
