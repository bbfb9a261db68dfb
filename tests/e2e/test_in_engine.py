"""The tests in in_engine/ need vLLM and torch: they run in the engines' environment."""

from __future__ import annotations

import site
import subprocess

from e2e_kit import ROOT

from heteropd.app import wiring

# The engines' environment has no pytest of its own: ours comes last on its path.
RUN = "import site, sys; site.addsitedir(sys.argv.pop(1)); import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def test_the_stand_ins_attention_and_connector() -> None:
    wiring.prepare(ROOT)
    python = wiring.context(ROOT).engine_python
    ours = site.getsitepackages()[0]
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "--import-mode=importlib"]
    done = subprocess.run(
        [str(python), "-c", RUN, ours, *options, "-o", "addopts=", str(ROOT / "tests/e2e/in_engine")],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout, done.stdout[-2000:]
