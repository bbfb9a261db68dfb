"""The CUDA and Gaudi Dockerfiles, every stage, on a stand-in base with small parts and packages made here.

What they cannot show: the vendors' bases, and real UCX, NIXL and vLLM in them. docs/images-stages.md.
"""

from __future__ import annotations

import hashlib
import json
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
        listed = (f"{name}/__init__.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")
        file.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in listed))


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
    return run(f"heteropd/{image}:v0.26-base", *argv)


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
    said = build("gaudi", gaudi_base, *three(parts)[1:], f"part.ucx={tmp_path}", code=2)
    assert "must be an installed prefix, not a source tree" in said


@pytest.fixture(scope="module")
def published(parts: Path, registry: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """An image with a UCX under /opt/site/ucx in a registry: its tag, and its name by digest."""
    file = tmp_path_factory.mktemp("published") / "Dockerfile"
    file.write_text("FROM scratch\nCOPY ucx /opt/site/ucx\n")
    tag = f"{registry}/test-parts/ucx:1"
    made = ["docker", "buildx", "build", "--quiet", "--provenance=false", f"--tag={tag}"]
    subprocess.run([*made, f"--file={file}", parts], check=True, capture_output=True)
    subprocess.run(["docker", "push", "--quiet", tag], check=True, capture_output=True)
    look = ["docker", "buildx", "imagetools", "inspect", tag, "--format", "{{json .Manifest}}"]
    shown = subprocess.run(look, check=True, capture_output=True)
    return tag, f"{registry}/test-parts/ucx@{json.loads(shown.stdout)['digest']}"


def test_a_prefix_of_a_published_image(
    bases: tuple[str, str], parts: Path, published: tuple[str, str]
) -> None:
    """By digest, the image is as locked as its other inputs; by tag it is refused with what helps."""
    tag, ref = published
    said = build("cuda", bases[0], f"part.ucx=image://{tag}:/opt/site/ucx", code=2)
    assert f"docker buildx imagetools inspect {tag}" in said
    build("cuda", bases[0], f"part.ucx=image://{ref}:/opt/site/ucx", f"part.vllm={parts / 'vllm'}", code=1)
    assert inside("cuda", "sh", "-c", "ls /opt/ucx/lib") == "libucp.so.0\nucx"
    labels = json.loads(settings("cuda", ".Config.Labels"))
    assert labels["io.heteropd.part.ucx"] == f"{ref}:/opt/site/ucx"
    assert "part.ucx" not in labels["io.heteropd.unlocked"]
    said = build("cuda", bases[0], f"part.ucx=image://{ref}:/nowhere", code=2)
    assert "part.ucx: the image has no folder /nowhere" in said


def test_a_prefix_of_an_image_from_a_bundle(
    bases: tuple[str, str], published: tuple[str, str], tmp_path: Path
) -> None:
    """Collected by digest, built without a network; the image is not on the engine any more."""
    _, ref = published
    small = checkout(tmp_path / "kit", f"{PREFIX}-bundle")
    lock = small.root / "env/locks/engine-cuda-v0.26.txt"
    lock.write_text((ROOT / "env/locks/nox.txt").read_text())
    given = [f"base={bases[0]}", f"part.ucx=image://{ref}:/opt/site/ucx", f"to={tmp_path / 'bundle'}"]
    small.heteropd("bundle", "cuda", *given)
    subprocess.run(["docker", "image", "rm", "--force", *published], check=False, capture_output=True)
    small.heteropd("build", "cuda", f"bundle={tmp_path / 'bundle'}", code=1)  # a small lock has no NIXL
    made = f"{PREFIX}-bundle/cuda:v0.26-base"
    assert run(made, "sh", "-c", "ls /opt/ucx/lib") == "libucp.so.0\nucx"
    subprocess.run(["docker", "image", "rm", "--force", made], check=True, capture_output=True)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose lock for the accelerators is the stand-in's NIXL, which starts without a device."""
    made = checkout(tmp_path_factory.mktemp("accelerators") / "kit", PREFIX)
    lock = (ROOT / "env/locks/engine-cpu.txt").read_text()
    blocks = re.findall(r"^(?:nixl|nixl-cu12|numpy)==.*\n(?: .*\n)+", lock, re.MULTILINE)
    (made.root / "env/locks/nixl.txt").write_text("".join(blocks))
    yield made
    for name in ("cuda:v0.26-base", "cuda:doc-2025-12-base", "gaudi:v0.26-base", "gaudi:faulty"):
        subprocess.run(
            ["docker", "image", "rm", "--force", f"{PREFIX}/{name}"], check=False, capture_output=True
        )


@pytest.fixture
def packages(kit: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lock with a small vLLM alone, which is found in a folder of wheels."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    wheel(tmp_path / "wheels", "vllm", "0.13.0")
    (file,) = (tmp_path / "wheels").iterdir()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (kit.root / "env/locks/small.txt").write_text(f"vllm==0.13.0 --hash=sha256:{digest}\n")
    return "lock=env/locks/small.txt"


def test_python_of_a_tree_over_a_package(
    kit: Checkout, bases: tuple[str, str], packages: str, tmp_path: Path
) -> None:
    """As in the source document's image: native files and version are the package's, Python the tree's."""
    (tmp_path / "tree/vllm").mkdir(parents=True)
    (tmp_path / "tree/vllm/__init__.py").write_text("from vllm import added\n")
    (tmp_path / "tree/vllm/added.py").write_text("FROM_TREE = True\n")
    words = ["cuda", "pins=doc-2025-12", f"base={bases[0]}", packages, f"source.vllm={tmp_path / 'tree'}"]
    kit.heteropd("build", *words, code=1)
    ref = f"{PREFIX}/cuda:doc-2025-12-base"
    look = "import importlib.metadata as m, vllm.added; print(m.version('vllm'), vllm.added.FROM_TREE)"
    assert run(ref, "python", "-c", look) == "0.13.0 True"
    note = json.loads(run(ref, "cat", "/usr/local/share/heteropd/vllm-overlay.json"))
    assert note == {"over": "vllm 0.13.0", "files": ["vllm/__init__.py", "vllm/added.py"]}
    (tmp_path / "tree/vllm/_C.abi3.so").touch()
    said = kit.heteropd("build", *words, code=2)
    assert "vllm/_C.abi3.so is native code: a tree may bring Python files only" in said


def test_the_plugin_of_a_tree(kit: Checkout, gaudi_base: str, packages: str, tmp_path: Path) -> None:
    (tmp_path / "tree/vllm_gaudi").mkdir(parents=True)
    (tmp_path / "tree/vllm_gaudi/__init__.py").write_text("def register(): return 'hpu'\n")
    entry = 'setup(entry_points={"vllm.platform_plugins": ["hpu = vllm_gaudi:register"]})\n'
    (tmp_path / "tree/setup.py").write_text(f"from setuptools import setup\n{entry}")
    words = ["gaudi", f"base={gaudi_base}", packages, f"source.vllm-gaudi={tmp_path / 'tree'}"]
    kit.heteropd("build", *words, code=1)
    ref = f"{PREFIX}/gaudi:v0.26-base"
    look = "import importlib.metadata as m; (e,) = m.entry_points(group='vllm.platform_plugins'); "
    assert run(ref, "python", "-c", f"{look} print(e.load()())") == "hpu"
    label = '{{index .Config.Labels "io.heteropd.gaudi_gdr"}}'
    argv = ["docker", "image", "inspect", "--format", label, ref]
    shown = subprocess.run(argv, check=True, capture_output=True)
    assert shown.stdout.strip() == b"false"


def test_a_ucx_that_nixl_does_not_go_with(kit: Checkout, bases: tuple[str, str], parts: Path) -> None:
    words = [f"part.{name}={parts / name}" for name in ("vllm", "ucx")]
    said = kit.heteropd("build", "cuda", f"base={bases[0]}", "lock=env/locks/nixl.txt", *words, code=2)
    assert "part.ucx has no lib/libuc" in said


def run(ref: str, *argv: str) -> str:
    words = ["docker", "run", "--rm", ref, *argv]
    return subprocess.run(words, text=True, check=True, capture_output=True).stdout.strip()


def suites(image: str, report: Path, tag: str = "", code: int = 0) -> dict[str, str]:
    """Run an image's testinfra suites; test -> ``red``, why it was skipped, or nothing."""
    ref = tag or f"{PREFIX}/{image}:v0.26-base"
    heteropd("infra", "--image", image, f"image_ref={ref}", f"junit={report}", code=code)
    cases = list(ET.parse(report).getroot().iter("testcase"))
    return {str(case.get("name")).partition("[")[0]: _outcome(case) for case in cases}


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
    assert found["test_verbs_of_nixls_wheel_are_the_systems"] == ""
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
