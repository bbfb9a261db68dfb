"""Reading an image: what is asked of it once, and what is known from before."""

from __future__ import annotations

import pytest

from heteropd.images import contents


class Engine:
    """An engine with one image, whose inventory would have to be asked for."""

    id = "sha256:new"
    attrs = {  # noqa: RUF012
        "Config": {"Env": ["A=b=c", "ODD"], "Healthcheck": None},
        "RootFS": {"Layers": ["sha256:1", "sha256:2"]},
    }

    @property
    def images(self):
        return self

    def get(self, ref):
        assert ref == "heteropd/cpu:x"
        return self

    def history(self):
        sizes = [(0, 7), (1_000_000, 7), (2_500_000, 3)]
        return [{"Size": size, "CreatedBy": "COPY", "Created": created} for size, created in sizes]


def test_an_image_that_did_not_change_is_not_asked_again(monkeypatch):
    monkeypatch.setattr(contents, "inventory", lambda _, ref: {"asked": ref})
    contents_before = contents.read(Engine(), "heteropd/cpu:x", 7)
    before = {**contents_before, "id": "another build's", "inventory": {"asked": "before"}, "differences": []}
    assert contents.read(Engine(), "heteropd/cpu:x", 7, before)["inventory"] == {"asked": "before"}
    changed = ({"layers": ["sha256:1"]}, {"config": {}}, {"differences": ["agent"]})
    for earlier in (None, {}, {"id": "sha256:new"}, *({**before, **change} for change in changed)):
        assert contents.read(Engine(), "heteropd/cpu:x", 7, earlier)["inventory"] == {
            "asked": "heteropd/cpu:x"
        }


def test_sizes_are_summed_and_ours_told_apart(monkeypatch):
    monkeypatch.setattr(contents, "inventory", lambda *_: {})
    made = contents.read(Engine(), "heteropd/cpu:x", 7)
    assert (made["total_mb"], made["added_mb"]) == (3.5, 1.0)
    assert made["config"]["env"] == {"A": "b=c"}
    assert made["config"]["healthcheck"] == []


@pytest.mark.parametrize("text", [None, "", "[]", "{broken"])
def test_an_earlier_file_that_cannot_be_read_is_none(tmp_path, text):
    file = tmp_path / "cpu.json"
    if text is not None:
        file.write_text(text)
    assert contents.kept(file) == {}
