"""A page of evidence: the report as it was written, below what it was seen on."""

from pathlib import Path

import pytest

from heteropd.app.wiring import STATE_VARIABLE
from heteropd.cli.verbs.evidence import evidence, render
from heteropd.errors import BadInput, KitError, MissingPrerequisite
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


def test_it_is_written_from_the_state_folder_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    reports = tmp_path / "reports"
    with pytest.raises(MissingPrerequisite, match="no verdict is kept yet"):
        evidence(to=str(tmp_path / "to"))
    reports.mkdir()
    (reports / "latest.md").write_text(REPORT)
    with pytest.raises(KitError, match=r"latest\.json is missing"):
        evidence(to=str(tmp_path / "to"))
    (reports / "latest.json").write_text(SEEN.read_text()[:300])
    with pytest.raises(KitError, match=r"latest\.json is not JSON, or damaged"):
        evidence(to=str(tmp_path / "to"))
    (reports / "latest.json").write_text(SEEN.read_text())
    with pytest.raises(BadInput, match="cannot be written"):
        evidence(to=str(reports / "latest.md"))
    assert evidence(to=str(tmp_path / "to")) == 0
    assert (tmp_path / "to" / "latest.json").read_text() == SEEN.read_text()
