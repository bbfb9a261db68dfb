"""The inventory program: what it finds where it runs, and what it does not say."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heteropd.images import contents

INVENTORY = Path(__file__).parents[3] / "docker/programs/heteropd-inventory"
SEARCH_HERE = """
import os, runpy, sys
walk = os.walk
os.walk = lambda _: walk(os.getcwd())
runpy.run_path(sys.argv[1])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two broken UCX."""
    folder = tmp_path_factory.mktemp("here")
    for name in ("a/libucp-0123abcd.so.0.0.0", "b/libucp.so.0", "b/ucx/libuct_ib_mlx5.so.0", "b/libucpx.so"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "b/libucp.so").symlink_to("libucp.so.0")
    return folder


def look(folder, *words):
    environ = {**os.environ, "HETEROPD_INVENTORY_AGAIN": "1", "HF_TOKEN": "abc", "UCX_TLS": "tcp"}
    command = [sys.executable, "-c", SEARCH_HERE, str(INVENTORY), *words]
    done = subprocess.run(
        command, env=environ, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def here(folder):
    """The inventory of this Python and of that folder, instead of the whole disk."""
    return json.loads(look(folder))


def test_a_package_over_the_bases_is_no_fault_and_one_twice_in_one_place_is(folder, monkeypatch):
    for version in ("1", "2"):
        for name in ("pytest", "stray"):
            info = folder / f"outside/{name}-{version}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    shutil.rmtree(folder / "outside/pytest-2.dist-info")
    monkeypatch.setenv("PYTHONPATH", str(folder / "outside"))
    found = json.loads(look(folder))
    assert found["repeated"] == ["stray"]
    shutil.rmtree(folder / "outside")


def test_the_inventory_for_people(folder):
    said = look(folder, "--brief").splitlines()
    assert said[0].split()[:2] == ["python", platform.python_version()]
    assert [line.split()[-1] for line in said if line.startswith("ucx copy")] == [
        str(folder / "a/libucp-0123abcd.so.0.0.0"),
        str(folder / "b/libucp.so.0"),
    ]
    assert any(line.startswith("unknown     ucx.version: ") for line in said)


def test_the_inventory_finds_every_ucx_once(here):
    names = [Path(path).name for path in here["ucx"]["copies"]]
    assert names == ["libucp-0123abcd.so.0.0.0", "libucp.so.0"]
    assert list(here["ucx"]["modules"]) == ["uct_ib_mlx5"]


def test_a_package_without_a_list_of_its_files_is_found(folder, monkeypatch):
    """Bases install torch in ways of their own."""
    site = folder / "site"
    (site / "torch").mkdir(parents=True)
    (site / "torch/__init__.py").touch()
    (site / "torch-2.11.0.dist-info").mkdir()
    (site / "torch-2.11.0.dist-info/METADATA").write_text("Name: torch\nVersion: 2.11.0\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    found = json.loads(look(folder))
    wanted = {"version": "2.11.0", "package_version": "2.11.0", "path": str(site / "torch")}
    assert found["torch"] == wanted
    assert found["inherited"]["torch"] == "2.11.0"


def test_what_the_inventory_cannot_have_is_null_with_a_reason(here):
    assert here["ucx"]["version"] is None
    assert "libucp" in here["problems"]["ucx.version"]
    assert here["nixl"] is None


def test_the_inventory_runs_anywhere(here):
    assert here["packages"]["pytest"] == pytest.__version__
    assert here["python"]["environment"] == sys.prefix
    assert here["vllm"] is None


def test_the_inventory_shows_no_secret(here):
    assert here["environment"]["UCX_TLS"] == "tcp"
    assert "HF_TOKEN" not in here["environment"]
    assert "abc" not in here["environment"].values()


def test_the_inventory_is_one_that_parses(here):
    assert contents.parse("here", 0, json.dumps(here), "") == here
