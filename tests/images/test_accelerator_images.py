"""The CUDA and Gaudi Dockerfiles, every stage, on a stand-in base with small parts made here.

What they cannot show: the vendors' bases, and real UCX, NIXL and vLLM in them. docs/images-stages.md.
"""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.checkout import Checkout, checkout
from lab.kit import ROOT, heteropd

LOCK = "lock=env/locks/nox.txt"  # small, and has hashes
PREFIX = "heteropd-test-accelerators"
TORCH = "/usr/lib/python3/dist-packages/torch"
BRIDGE = "/usr/lib/python3/dist-packages/habana_frameworks"
GAUDI_BASE = f"""
ARG FROM
FROM ${{FROM}}
RUN mkdir -p {TORCH} {BRIDGE} {TORCH}-2.11.0.dist-info && touch {TORCH}/__init__.py {BRIDGE}/__init__.py \
 && printf 'Metadata-Version: 2.1\\nName: torch\\nVersion: 2.11.0\\n' > {TORCH}-2.11.0.dist-info/METADATA \
 && echo 'torch/__init__.py,,' > {TORCH}-2.11.0.dist-info/RECORD
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefixes with files in the right places, and a wheel that is called vLLM."""
    folder = tmp_path_factory.mktemp("parts")
    modules = [f"ucx/lib/ucx/libuct_{name}.so" for name in ("cuda", "gaudi", "ib")]
    for file in ("ucx/lib/libucp.so.0", "nixl/lib/libnixl.so", *modules):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("no library\n")
    (folder / "nixl/python/nixl").mkdir(parents=True)
    (folder / "nixl/python/nixl/__init__.py").write_text("FROM_PART = True\n")
    wheel(folder / "vllm", "vllm", "0.26.0")
    return folder


def wheel(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def gaudi_base(engine: str, bases: tuple[str, str]) -> str:
    del engine
    tag = "heteropd-test-gaudi-base"
    argv = ["docker", "build", "--quiet", "--tag", tag, "--build-arg", f"FROM={bases[0]}", "-"]
    subprocess.run(argv, input=GAUDI_BASE, text=True, check=True, capture_output=True)
    return tag


def build(image: str, base: str, *words: str, code: int = 0) -> str:
    return heteropd("build", image, f"base={base}", LOCK, *words, code=code)


def three(parts: Path) -> list[str]:
    return [f"part.{name}={parts / name}" for name in ("ucx", "nixl", "vllm")]


def inside(image: str, *argv: str) -> str:
    words = ["docker", "run", "--rm", f"heteropd/{image}:v0.26-base", *argv]
    return subprocess.run(words, text=True, check=True, capture_output=True).stdout.strip()


def settings(image: str, field: str) -> str:
    words = [
        "docker",
        "image",
        "inspect",
        "--format",
        f"{{{{json {field}}}}}",
        f"heteropd/{image}:v0.26-base",
    ]
    return subprocess.run(words, text=True, check=True, capture_output=True).stdout.strip()


def test_gaudi(gaudi_base: str, parts: Path) -> None:
    build("gaudi", gaudi_base, *three(parts))
    look = "import nixl, torch, vllm; print(nixl.FROM_PART, torch.__file__, vllm.__version__)"
    assert inside("gaudi", "python", "-c", look) == f"True {TORCH}/__init__.py 0.26.0"
    assert inside("gaudi", "sh", "-c", "ls /opt/ucx/lib/ucx; id -un").split()[1:] == [
        "libuct_gaudi.so",
        "libuct_ib.so",
        "root",
    ]
    assert "LD_LIBRARY_PATH=/opt/ucx/lib:/opt/nixl/lib:/usr/lib/habanalabs" in settings(
        "gaudi", ".Config.Env"
    )
    labels = settings("gaudi", ".Config.Labels")
    assert "command line: part.ucx" in labels
    assert '"io.heteropd.locked":"false"' in labels


def test_cuda_is_built_without_parts_and_with_them(bases: tuple[str, str], parts: Path) -> None:
    assert "nixl: not in the image" in build("cuda", bases[0], code=1), "the lock of this test has none"
    assert inside("cuda", "python", "-c", "import packaging; print('there')") == "there"
    assert settings("cuda", ".Config.StopSignal") == '"SIGTERM"'
    assert "heteropd-health" in settings("cuda", ".Config.Healthcheck")
    build("cuda", bases[0], *three(parts))
    assert inside("cuda", "sh", "-c", "ls /opt/ucx/lib /opt/nixl/lib").split() == [
        *("/opt/nixl/lib:", "libnixl.so", "/opt/ucx/lib:", "libucp.so.0", "ucx")
    ]
    assert inside("cuda", "python", "-c", "import vllm; print(vllm.__version__)") == "0.26.0"


def test_a_torch_over_the_bases_own_stops_the_build(gaudi_base: str, parts: Path, tmp_path: Path) -> None:
    wheel(tmp_path, "torch", "2.11.0")
    said = build("gaudi", gaudi_base, *three(parts)[:2], f"part.vllm={tmp_path}", code=1)
    assert "torch was replaced" in said


def test_a_base_without_torch_is_no_gaudi_base(bases: tuple[str, str], parts: Path) -> None:
    assert "the base has no torch" in build("gaudi", bases[0], *three(parts), code=1)


def test_a_source_tree_is_no_part(gaudi_base: str, parts: Path, tmp_path: Path) -> None:
    (tmp_path / "configure.ac").touch()
    said = build("gaudi", gaudi_base, *three(parts)[1:], f"part.ucx={tmp_path}", code=1)
    assert "must be an installed prefix, not a source tree" in said


def test_a_part_that_is_due_is_asked_for(gaudi_base: str) -> None:
    assert "add part.ucx=FOLDER" in build("gaudi", gaudi_base, code=1)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose lock for the accelerators is the stand-in's NIXL, which starts without a device."""
    made = checkout(tmp_path_factory.mktemp("accelerators") / "kit", PREFIX)
    lock = (ROOT / "env/locks/engine-cpu.txt").read_text()
    blocks = re.findall(r"^(?:nixl|nixl-cu12|numpy)==.*\n(?: .*\n)+", lock, re.MULTILINE)
    (made.root / "env/locks/nixl.txt").write_text("".join(blocks))
    yield made
    for name in ("cuda:v0.26-base", "gaudi:v0.26-base", "gaudi:faulty"):
        subprocess.run(
            ["docker", "image", "rm", "--force", f"{PREFIX}/{name}"], check=False, capture_output=True
        )


def suites(image: str, report: Path, tag: str = "", code: int = 0) -> dict[str, str]:
    """Run an image's testinfra suites; test -> ``red``, why it was skipped, or nothing."""
    ref = tag or f"{PREFIX}/{image}:v0.26-base"
    heteropd("infra", "--image", image, f"image_ref={ref}", f"junit={report}", code=code)
    cases = list(ET.parse(report).getroot().iter("testcase"))
    return {str(one.get("name")).partition("[")[0]: _outcome(one) for one in cases}


def _outcome(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "red"
    skip = case.find("skipped")
    return "" if skip is None else str(skip.get("message"))


def test_the_suites_on_a_stand_in_cuda(
    kit: Checkout, bases: tuple[str, str], parts: Path, tmp_path: Path
) -> None:
    """A real NIXL and its bundled UCX start in it; what needs a GPU says so."""
    kit.heteropd(
        "build", "cuda", f"base={bases[0]}", "lock=env/locks/nixl.txt", f"part.vllm={parts / 'vllm'}"
    )
    found = suites("cuda", tmp_path / "junit.xml")
    looked = {"test_exactly_one_ucx", "test_ucx_modules_are_there", "test_exactly_one_nixl"}
    looked |= {
        "test_nixl_starts_an_agent_over_ucx",
        "test_environment_is_baked_in",
        "test_python_is_the_engines",
    }
    assert {name: found[name] for name in looked} == dict.fromkeys(looked, "")
    assert "an NVIDIA GPU" in found["test_ucx_sees_the_device"]


def test_the_suites_on_a_stand_in_gaudi(kit: Checkout, gaudi_base: str, parts: Path, tmp_path: Path) -> None:
    """Small parts in the right places; that NIXL starts cannot be seen in it, and is skipped by name."""
    kit.heteropd("build", "gaudi", f"base={gaudi_base}", LOCK, *three(parts))
    found = suites("gaudi", tmp_path / "junit.xml")
    looked = {"test_exactly_one_ucx", "test_ucx_modules_are_there", "test_torch_is_the_one_it_should_be"}
    assert {name: found[name] for name in looked} == dict.fromkeys(looked, "")
    assert "part.nixl" in found["test_nixl_starts_an_agent_over_ucx"]
    assert "a Gaudi" in found["test_ucx_sees_the_device"]


def test_faults_of_a_gaudi_image(gaudi_base: str, parts: Path, kit: Checkout, tmp_path: Path) -> None:
    """Its transport and its bridge lost, and a torch in front of the base's: each turns its own test red."""
    kit.heteropd("build", "gaudi", f"base={gaudi_base}", LOCK, *three(parts))
    site = "/opt/heteropd/lib/python3*/site-packages"
    lines = f"""FROM {PREFIX}/gaudi:v0.26-base
RUN rm -r {BRIDGE} /opt/ucx/lib/ucx/libuct_gaudi.so && cp -r {TORCH} {TORCH}-2.11.0.dist-info $(echo {site})
"""
    tag = f"{PREFIX}/gaudi:faulty"
    argv = ["docker", "build", "--quiet", "--network=none", "--tag", tag, "-"]
    subprocess.run(argv, input=lines, text=True, check=True, capture_output=True)
    found = suites("gaudi", tmp_path / "junit.xml", tag, code=1)
    due = {
        "test_ucx_modules_are_there",
        "test_bridge_to_gaudi_is_there",
        "test_torch_is_the_one_it_should_be",
    }
    assert {name for name, outcome in found.items() if outcome == "red"} == due
