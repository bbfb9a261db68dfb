"""The verb `evidence`: the newest verdict as a page that says on what it was seen, to keep or to send."""

import shutil

from heteropd.app import wiring
from heteropd.bench.results import machine
from heteropd.config import yamlfile
from heteropd.config.checkout import root
from heteropd.console.width import console
from heteropd.errors import EXIT_OK, BadInput, KitError, MissingPrerequisite
from heteropd.prepare import accelerator
from heteropd.proof.report import read_kept
from heteropd.proof.verdict import Verdict
from heteropd.system import LocalRunner


def evidence(*, to: str | None) -> int:
    """Write TIME-CASE.md and .json.

    Raises MissingPrerequisite before the first verdict, `KitError` for one that is damaged, and BadInput for
    a folder that cannot be written.
    """
    folder = yamlfile.located(to or "docs/evidence/runs", "to", root())
    newest = (wiring.context(root()).state_dir / "reports" / "latest.md").resolve()
    if not newest.is_file():
        raise MissingPrerequisite("no verdict is kept yet", "`make case1`, or `make validate` of what runs")
    data = newest.with_suffix(".json")
    verdict = read_kept(Verdict, data)
    if isinstance(verdict, str):
        raise KitError(f"{data} {verdict or 'is missing'}; `make validate` makes a new one")
    report = newest.read_text(errors="replace")
    page = render(verdict, report, machine(), accelerator.find_gpu(LocalRunner()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / newest.name).write_text(page)
        shutil.copyfile(data, folder / data.name)
    except (OSError, shutil.SameFileError) as problem:
        reason = f"cannot be written: {problem.strerror or problem}"
        raise BadInput("command line", "to", to, reason, "name a folder, or one to be made") from None
    text = f"written: {folder / newest.name} and .json; read them before you send them"
    console().print(text, soft_wrap=True)
    return EXIT_OK


def render(verdict: Verdict, report: str, facts: dict[str, object], gpu: accelerator.Gpu | None) -> str:
    """The report below the machine that writes this, which ran the roles unless the report was moved."""
    seen = {"when": f"{verdict.started_at:%Y-%m-%d %H:%M} UTC", **facts, "command": f"make {verdict.case} …"}
    seen["GPU"] = f"{gpu.name}, driver {gpu.driver}, {gpu.total} MiB" if gpu else "none"
    real = [f"{name} on {platform}" for name, platform in verdict.real.items()]
    seen["real"] = ", ".join(real) or "see below"
    rows = "\n".join(f"| {name} | {value} |" for name, value in seen.items() if name != "load_before")
    title, _, rest = report.partition("\n")
    return f"{title}\n\n| written on | |\n|---|---|\n{rows}\n{rest}"
