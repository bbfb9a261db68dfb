"""What a real CUDA engine on this machine needs is looked at before anything is made or started."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from heteropd.config.env import load
from heteropd.config.machine import Machine
from heteropd.config.platforms import ProcessNeeds
from heteropd.errors import MissingPrerequisite
from heteropd.plan.model import RolePlan
from heteropd.prepare import accelerator
from heteropd.system import Completed, LocalRunner
from plan_words import make

ROOT = Path(__file__).parents[3]
PLAN = make(["case1", "standin=gaudi"], ROOT, Machine(cores=[0, 1]))
PREFILL = next(role for role in PLAN.engines if role.role == "prefill")
H100 = "NVIDIA H100 80GB HBM3, 580.159.04, 81559, 80995"


class Driver(LocalRunner):
    """A machine whose programs print one thing."""

    def __init__(self, out: str, code: int = 0) -> None:
        self.out, self.code = out, code

    def run(self, argv: Sequence[str], **_: object) -> Completed:  # type: ignore[override]
        return Completed(tuple(argv), self.code, self.out, "")


def needs() -> ProcessNeeds:
    wanted = load(ROOT).platforms["cuda"].process
    assert wanted is not None
    return wanted


def require(listing: str, engine: RolePlan = PREFILL, code: int = 0) -> accelerator.Gpu:
    return accelerator.require_gpu(engine, needs(), Driver(listing, code))


def test_a_card_with_room_and_a_new_driver_will_do() -> None:
    assert require(f"{H100}\n{H100}\n").name == "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    ("listing", "code", "problem"),
    [
        ("", 127, "no NVIDIA driver lists a GPU"),
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
            9,
            "no NVIDIA driver",
        ),
        ("something else, that is new", 0, "no NVIDIA driver lists a GPU"),
        ("NVIDIA H100, 580.1, [N/A], [N/A]", 0, "no NVIDIA driver lists a GPU"),
        (
            "NVIDIA A100, 570.86.10, 81559, 80995",
            0,
            "needs NVIDIA driver 580 or newer, and this is 570",
        ),
        ("NVIDIA H100, 580.159.04, 81559, 9000", 0, "takes 15.9 GiB of GPU memory"),
    ],
)
def test_what_will_not_do_is_refused_with_its_figure(listing: str, code: int, problem: str) -> None:
    with pytest.raises(MissingPrerequisite, match=problem):
        require(listing, code=code)


def test_a_sites_python_needs_the_stand_ins_vllm(tmp_path: Path) -> None:
    python = tmp_path / "python"
    with pytest.raises(MissingPrerequisite, match="is not a program that can be run"):
        accelerator.require_vllm(python, "0.30.0", Driver("0.30.0"))
    python.touch(0o755)
    accelerator.require_vllm(python, "0.30.0", Driver("0.30.0+cu130"))
    for out, code in (("0.32.0", 0), ("", 1)):
        with pytest.raises(MissingPrerequisite, match=r"the stand-in beside it runs vLLM 0\.30\.0"):
            accelerator.require_vllm(python, "0.30.0", Driver(out, code))


def test_a_sites_python_needs_what_the_engine_is_to_load(tmp_path: Path) -> None:
    python, vllm = tmp_path / "python", load(ROOT).standin.vllm
    python.write_text(f"#!/bin/sh\ncase $3 in *packages*) echo {vllm};; *) exit 1;; esac\n")
    python.chmod(0o755)
    modules = []
    for digest in ("off", "enforce"):
        words = ["case1", "standin=gaudi", f"engine_python={python}", f"digest={digest}"]
        [prefill] = make(words, ROOT, Machine(cores=[0, 1])).of("prefill")
        modules.append(accelerator.connector_module(prefill))
    assert modules == [None, "heteropd_engine.digest.connector"]
    accelerator.require_vllm(python, vllm, LocalRunner(), modules[0])
    with pytest.raises(MissingPrerequisite, match="has no heteropd_engine, of which the engine") as raised:
        accelerator.require_vllm(python, vllm, LocalRunner(), modules[1])
    assert f"{python} -m pip install --no-deps scripts/heteropd_engine" in str(raised.value)


def test_an_environment_that_does_not_fit_on_the_disk_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator.environments, "is_current", lambda *_: False)
    monkeypatch.setattr(accelerator.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**30}))
    with pytest.raises(MissingPrerequisite, match=r"has 1\.0 GiB free"):
        accelerator.ensure_python("lock", needs(), tmp_path, Driver(""), print)


def test_a_plan_of_stand_ins_alone_asks_for_no_gpu() -> None:
    plan = make(["case1"], ROOT, Machine(cores=[0, 1]))
    assert accelerator.python_of(plan, load(ROOT), ROOT, Driver("", 127), print) is None


def test_a_site_has_a_python_of_its_own(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncase $1 in -P) echo {load(ROOT).standin.vllm};; esac\n")
    python.chmod(0o755)
    plan = make(["case1", "standin=gaudi", f"engine_python={python}"], ROOT, Machine(cores=[0, 1]))

    class Site(Driver):
        def run(self, argv: Sequence[str], **_: object) -> Completed:  # type: ignore[override]
            asked = argv[0] == "nvidia-smi"
            return super().run(argv) if asked else LocalRunner.run(self, argv)

    assert accelerator.python_of(plan, load(ROOT), ROOT, Site(H100), print) == python


def test_an_option_given_as_one_word_is_read_too() -> None:
    config = '{"kv_connector_module_path": "package.module", "other": "a=b"}'
    for argv in (["--kv-transfer-config", config], [f"--kv-transfer-config={config}"]):
        engine = PREFILL.model_copy(update={"argv": argv})
        assert accelerator.connector_module(engine) == "package.module"
    assert accelerator.connector_module(PREFILL.model_copy(update={"argv": []})) is None
