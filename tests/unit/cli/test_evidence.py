"""A page of evidence: the report as it was written, below what it was seen on."""

from pathlib import Path

from heteropd.cli.verbs.evidence import render
from heteropd.prepare.accelerator import Gpu
from heteropd.proof.verdict import Verdict

SEEN = Path(__file__).parents[3] / "docs/evidence/mixed/case1-h100.json"
REPORT = "# PASS (mixed): case1, a model\n\nAll is well.\n\n## Topology\n"
FACTS: dict[str, object] = {"cpu": "Xeon", "cores": 16, "load_before": 0.5}


def page(gpu: Gpu | None) -> str:
    return render(Verdict.model_validate_json(SEEN.read_text()), REPORT, FACTS, gpu)


def test_the_page_says_the_machine_and_what_was_real() -> None:
    lines = page(Gpu("NVIDIA H100", "580.159.04", 81559, 80000)).splitlines()
    assert lines[0] == "# PASS (mixed): case1, a model"
    assert "| GPU | NVIDIA H100, driver 580.159.04, 81559 MiB |" in lines
    assert "| real | prefill-0 on cuda |" in lines
    assert "| cores | 16 |" in lines
    assert "All is well." in lines
    assert not any("load_before" in line for line in lines)


def test_a_machine_without_a_gpu_says_so() -> None:
    assert "| GPU | none |" in page(None)
