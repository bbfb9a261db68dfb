"""Parts: published packages, folders of images by digest, Python files of pinned trees; what is refused."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from heteropd.config import env as room
from heteropd.config.pins import ImagePart, PinSet
from heteropd.errors import BadInput
from heteropd.images import bake, byhand, recipe, requirements
from heteropd.images.bake import Options
from heteropd.images.context import Site

ROOT = Path(__file__).parents[3]
ENV = room.load(ROOT)
DIGEST = "sha256:" + "ab" * 32
UCX = f"registry.example/ucx@{DIGEST}"
PROGRAM = ROOT / "docker/common/python_parts.py"


def choice(image, pins, variant=None):
    return recipe.choose(image, pins, variant, ENV)


def by_hand(*words):
    parts = dict(word.removeprefix("part.").split("=", 1) for word in words)
    return byhand.by_hand({}, parts, None, ROOT)


def rendered(wanted, *words):
    given = by_hand(*words)
    unneeded = [name for name, folder in given.of(wanted).items() if folder is None]
    folders = {name: Path("/trees") / name for name in wanted.sources if name not in unneeded}
    return byhand.applied(recipe.render(wanted, ENV, ROOT, folders), given, wanted)


def test_a_folder_of_an_image_by_digest_is_as_good_as_pinned():
    made = rendered(choice("cuda", "v0.26"), f"part.ucx=image://{UCX}:/opt/ucx")
    assert made.labels["io.heteropd.locked"] == "true"
    assert made.labels["io.heteropd.part.ucx"] == f"{UCX}:/opt/ucx"
    assert made.contexts == {"ucx-part": f"docker-image://{UCX}"}
    assert made.build_args["UCX_PATH"] == "/opt/ucx"
    target = bake.render([made], ENV.images, Site({}, None), Options())["target"]["cuda"]
    assert target["contexts"]["ucx-part"] == f"docker-image://{UCX}"


def test_a_folder_of_this_machine_is_not_locked(tmp_path):
    made = rendered(choice("cuda", "v0.26"), f"part.ucx={tmp_path}")
    assert made.labels["io.heteropd.unlocked"] == "command line: part.ucx"
    assert made.contexts == {"ucx-part": str(tmp_path)}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("image://registry.example:5000/ucx:1:/opt/ucx", r"is a tag, which may move; .*imagetools inspect "
         r"registry.example:5000/ucx:1\) .*part.ucx=image://registry.example:5000/ucx:1@DIGEST:/opt/ucx"),
        ("image://registry.example/ucx", "names a folder of an image"),
        (f"image://{UCX}", "names a folder of an image"),
        ("/nowhere", "is not a folder"),
    ],
)  # fmt: skip
def test_a_part_that_is_no_folder_and_no_image_by_digest(value, text):
    with pytest.raises(BadInput, match=text) as refused:
        by_hand(f"part.ucx={value}")
    assert "\n" not in str(refused.value)


def test_images_of_releases_are_complete_without_another_word():
    for image in ("cuda", "gaudi"):
        assert rendered(choice(image, "v0.26")).labels["io.heteropd.locked"] == "true"
    open_ = {value.where for value in recipe.unresolved(choice("gaudi", "v0.30"))}
    assert open_ == {
        "env/pins/v0.30.yaml: images.gaudi.digest", "env/pins/v0.30.yaml: sources.vllm-gaudi.commit"
    }  # fmt: skip
    assert not list(recipe.unresolved(choice("cuda", "v0.30")))


def test_an_overlay_is_named_for_what_it_is():
    made = rendered(choice("cuda", "doc-2025-12", "decode-post-process"))
    assert made.labels["io.heteropd.vllm"] == "0.13.0 binaries, f21f5ea3 Python"
    assert made.contexts == {"vllm-python-tree": "/trees/vllm"}
    assert made.labels["io.heteropd.locked"] == "true"


def test_the_documents_gaudi_image_asks_for_what_nobody_publishes(tmp_path):
    made = rendered(choice("gaudi", "doc-2025-12"))
    assert "parts.gaudi.ucx (UCX 1.21 with the Gaudi transport" in made.labels["io.heteropd.unlocked"]
    given = rendered(choice("gaudi", "doc-2025-12"), f"part.ucx={tmp_path}", f"part.nixl={tmp_path}")
    assert "parts.gaudi" not in given.labels["io.heteropd.unlocked"]


def test_a_gaudi_image_says_whether_it_has_the_vendors_transport(tmp_path):
    plain, own = choice("gaudi", "v0.26"), f"part.ucx={tmp_path}"
    assert rendered(plain).labels["io.heteropd.gaudi_gdr"] == "false"
    assert rendered(plain, own).labels["io.heteropd.gaudi_gdr"] == "true"
    made = rendered(plain)
    assert made.contexts == {"vllm-gaudi-tree": "/trees/vllm-gaudi"}
    assert made.build_args["VLLM_GAUDI_VERSION"] == "0.26.0"


def test_a_variant_may_ask_for_a_part_of_its_own(tmp_path):
    gdr = choice("gaudi", "v0.30", "gaudi-gdr")
    made, given = rendered(gdr), rendered(gdr, f"part.ucx={tmp_path}")
    assert (made.labels["io.heteropd.gaudi_gdr"], given.labels["io.heteropd.gaudi_gdr"]) == ("true", "true")
    assert "parts.gaudi.ucx (UCX 1.21 or newer" in made.labels["io.heteropd.unlocked"]
    assert "parts.gaudi.ucx" not in given.labels["io.heteropd.unlocked"]
    assert rendered(choice("gaudi", "v0.30")).labels["io.heteropd.gaudi_gdr"] == "false"
    assert not list(recipe.unresolved(choice("cuda", "v0.30", "gaudi-gdr")))


def test_wheels_of_ones_own_take_the_place_of_trees(tmp_path):
    made = rendered(choice("gaudi", "v0.26"), f"part.vllm={tmp_path}")
    assert made.contexts == {"vllm-part": str(tmp_path)}
    assert "io.heteropd.source.vllm-gaudi" not in made.labels


def test_a_part_of_the_pin_set_may_be_an_image():
    pins = ENV.pins["v0.26"]
    part = ImagePart(ref="registry.example/ucx:1", digest=DIGEST, path="/opt/ucx")
    wanted = choice("gaudi", "v0.26")
    parts = {**pins.parts, "gaudi": {**pins.parts["gaudi"], "ucx": part}}
    wanted = recipe.Choice(
        wanted.image, wanted.pins_name, wanted.variant_name, wanted.spec,
        pins.model_copy(update={"parts": parts}), wanted.variant, wanted.base,
    )  # fmt: skip
    made = rendered(wanted)
    assert made.contexts["ucx-part"] == f"docker-image://{UCX}"
    assert made.labels["io.heteropd.gaudi_gdr"] == "true"


def test_a_part_names_a_source_that_is_there():
    data = ENV.pins["v0.26"].model_dump(mode="json", exclude_none=True)
    data["parts"]["gaudi"]["vllm-gaudi"]["tree"] = "nowhere"
    with pytest.raises(ValidationError, match=r"parts\.gaudi\.vllm-gaudi\.tree names 'nowhere'"):
        PinSet.model_validate(data)


def test_nixl_0_7_wheels_are_refused_on_gaudi():
    data = ENV.pins["v0.26"].model_dump(mode="json", exclude_none=True)
    data["nixl"]["gaudi"] = {"version": "0.7.1", "package": "nixl-cu12", "ucx": "bundled"}
    with pytest.raises(ValidationError, match=r"nixl\.gaudi: .*needs libcuda\.so\.1"):
        PinSet.model_validate(data)


@pytest.mark.parametrize(
    ("image", "pins", "lines"),
    [
        ("cuda", "doc-2025-12", ["nixl-cu12==0.7.1", "nixl==0.7.1", "vllm==0.13.0"]),
        ("cuda", "v0.30", ["nixl-cu13==1.4.1", "nixl==1.4.1", "vllm==0.30.0"]),
        ("gaudi", "doc-2025-12", ["numba>=0.58.0", "pandas>=2.2.3", "ray>=2.48.0", "vllm==0.13.0"]),
    ],
)
def test_requirements_are_what_the_pin_set_names(image, pins, lines):
    wanted = choice(image, pins)
    assert requirements.wanted(wanted) == lines
    assert requirements.is_current(wanted, ROOT), "make lock"
    text = (ROOT / requirements.file(wanted)).read_text()
    assert "--hash=sha256:" in text
    if image == "gaudi":
        assert "\ntorch==" not in text
        assert "\nnvidia-cu" not in text


class Environment:
    """A Python with a site-packages that tests may change."""

    def __init__(self, folder):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin/python"
        self.packages = next(folder.glob("lib/python*/site-packages"))

    def package(self, name, version, files):
        info = f"{name}-{version}.dist-info"
        files = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
        for path, text in files.items():
            (self.packages / path).parent.mkdir(parents=True, exist_ok=True)
            (self.packages / path).write_text(text)
        rows = [f"{path},{listed(text)},{len(text)}\n" for path, text in files.items()]
        (self.packages / info / "RECORD").write_text("".join(rows) + f"{info}/RECORD,,\n")

    def run(self, *words):
        done = subprocess.run([self.python, PROGRAM, *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def record(self, info):
        lines = (self.packages / info / "RECORD").read_text().splitlines()
        return {row[0]: row[1] for row in csv.reader(lines)}


def listed(text):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def site(tmp_path):
    made = Environment(tmp_path / "venv")
    files = {"__init__.py": "", "_version.py": "V = '0.13.0'\n", "a.py": "old\n", "_C.abi3.so": "x"}
    made.package("vllm", "0.13.0", {f"vllm/{name}": text for name, text in files.items()})
    return made


def tree(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    for path, text in {"vllm/__init__.py": "", **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_an_overlay_changes_python_and_keeps_what_a_build_makes(site, tmp_path):
    files = {"vllm/a.py": "new\n", "vllm/b/c.py": "more\n", "vllm/_version.py": "V = 'x'\n", "csrc/k.cu": ""}
    note = tmp_path / "note.json"
    code, text = site.run("overlay", "vllm", tree(tmp_path / "tree", files), note)
    assert code == 0, text
    assert json.loads(note.read_text()) == {"over": "vllm 0.13.0", "files": ["vllm/a.py", "vllm/b/c.py"]}
    assert (site.packages / "vllm/a.py").read_text() == "new\n"
    assert (site.packages / "vllm/_version.py").read_text() == "V = '0.13.0'\n"
    assert (site.packages / "vllm/_C.abi3.so").exists()
    record = site.record("vllm-0.13.0.dist-info")
    assert record["vllm/b/c.py"] == listed("more\n")
    assert record["vllm/a.py"] == listed("new\n")


def test_an_overlay_with_native_code_is_refused(site, tmp_path):
    code, text = site.run("overlay", "vllm", tree(tmp_path / "tree", {"vllm/_C.abi3.so": ""}), tmp_path / "n")
    assert code == 1
    assert text == "ERROR: vllm/_C.abi3.so is native code: a tree may bring Python files only\n"


def test_a_package_that_was_changed_behind_its_record_is_refused(site, tmp_path):
    (site.packages / "vllm/__init__.py").write_text("changed\n")
    code, text = site.run("strip", "vllm")
    assert code == 1
    assert text == "ERROR: vllm/__init__.py is not what vllm-0.13.0.dist-info lists\n"
    assert site.run("overlay", "nowhere", tmp_path, tmp_path / "n")[1] == "ERROR: nowhere is not installed\n"


def test_native_files_are_taken_away(site):
    assert site.run("strip", "vllm") == (0, "vllm 0.13.0: 1 native files taken away\n")
    assert not (site.packages / "vllm/_C.abi3.so").exists()
    assert "vllm/_C.abi3.so" not in site.record("vllm-0.13.0.dist-info")
    assert site.run("strip", "torch")[0] == 0


SETUP = """
from setuptools import setup
setup(
    name="vllm_gaudi",
    entry_points={
        "vllm.platform_plugins": ["hpu = vllm_gaudi:register"],
        "pytest11": ["compat = pytest_compat"],
    },
)
"""


def test_a_tree_becomes_a_package_with_its_entry_points_and_no_build_is_run(site, tmp_path):
    files = {"vllm_gaudi/__init__.py": "def register(): return 'hpu'\n", "setup.py": SETUP}
    files["vllm_gaudi/x.txt"] = ""
    words = ("install", "vllm_gaudi", tree(tmp_path / "tree", files), "0.26.0", "c" * 40)
    assert site.run(*words)[0] == 0
    look = (
        "import importlib.metadata as m; (e,) = m.entry_points(group='vllm.platform_plugins');"
        "print(e.load()());"
        "print(m.version('vllm-gaudi'), len(m.entry_points(group='pytest11')))"
    )
    found = subprocess.run([site.python, "-c", look], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["hpu", "0.26.0", "0"]
    assert "vllm_gaudi/x.txt" in site.record("vllm_gaudi-0.26.0.dist-info")
