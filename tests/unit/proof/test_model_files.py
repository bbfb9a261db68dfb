"""Files of two engines' models: read where they run, and what differs is named."""

from pathlib import Path

import pytest
from rich.console import Console

from heteropd.proof.model_files import check_files, read_files
from heteropd.topology import Context, Topology
from heteropd.topology.state import RoleState


@pytest.fixture
def folders(tmp_path):
    """Two folders with the same model."""
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tokenizer.json").write_text('{"merges": ["a b"]}')
        (folder / "chat_template.jinja").write_text("{{ messages }}")
        (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40_000)
        (folder / "README.md").write_text(name)  # not the model's
    return tmp_path / "one", tmp_path / "other"


@pytest.fixture
def read(make_plan, tmp_path):
    """Reads folders as those of the two engines of an imagined topology that runs as processes."""

    def both(*roots, thorough=False):
        plan = make_plan()
        roles = [RoleState(name=role.name, log=tmp_path / "log") for role in plan.roles]
        topology = Topology.model_construct(plan=plan, roles=roles)
        files = read_files(topology, Context(root=Path(), console=Console()), thorough=thorough)
        names = ("prefill-0", "decode-0")
        return check_files({name: files(name, str(root)) for name, root in zip(names, roots, strict=True)})

    return both


def test_the_same_files_pass(read, folders):
    check = read(*folders)
    assert (check.status, check.evidence["files"]) == (
        "PASS", ["chat_template.jinja", "model.safetensors", "tokenizer.json"],
    )  # fmt: skip


@pytest.mark.parametrize("file", ["tokenizer.json", "chat_template.jinja", "model.safetensors"])
def test_a_file_that_differs_is_named(read, folders, file):
    with (folders[1] / file).open("r+b") as stream:
        stream.seek(3)
        stream.write(b"X")
    check = read(*folders)
    assert (check.status, check.evidence["different"]) == ("FAIL", [file])
    assert file in check.text


def test_one_byte_between_the_pieces_is_seen_when_thorough(read, folders):
    with (folders[1] / "model.safetensors").open("r+b") as stream:
        stream.seek(100_000)
        stream.write(b"\xff")
    assert read(*folders).status == "PASS"
    assert read(*folders, thorough=True).status == "FAIL"


def test_a_folder_that_cannot_be_read_is_said(read, folders):
    check = read(folders[0], "/nowhere/at/all")
    assert (check.status, check.essential) == ("SKIP", False)
    assert "decode-0" in check.text


def test_a_model_of_the_hub_is_found_in_its_cache(read, folders, tmp_path, monkeypatch):
    snapshots = tmp_path / "hub" / "models--a--b" / "snapshots"
    snapshots.mkdir(parents=True)
    folders[0].rename(snapshots / "abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert read("a/b", folders[1]).status == "PASS"


def test_engines_with_files_of_their_own_formats_are_not_compared(read, folders):
    for name in ("tokenizer.json", "chat_template.jinja", "model.safetensors"):
        (folders[1] / name).rename(folders[1] / f"x{name}")
    assert read(*folders).status == "SKIP"
