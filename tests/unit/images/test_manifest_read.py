"""Reading an image: what is asked of it once, and what is known from before."""

from __future__ import annotations

import pytest

from heteropd.images import contents


class Engine:
    """An engine with one image, whose inventory would have to be asked for."""

    id = "sha256:new"
    attrs = {"Config": {"Env": ["A=b=c", "ODD"], "Healthcheck": None}}  # noqa: RUF012

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
    before = {"id": "sha256:new", "inventory": {"asked": "before"}, "differences": []}
    assert contents.read(Engine(), "heteropd/cpu:x", 7, before)["inventory"] == {"asked": "before"}
    other = {**before, "id": "sha256:old"}
    for earlier in (None, {}, other, {"id": "sha256:new"}, {**before, "differences": ["agent"]}):
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
def test_an_earlier_manifest_that_cannot_be_read_is_none(tmp_path, text):
    file = tmp_path / "cpu.json"
    if text is not None:
        file.write_text(text)
    assert contents.kept(file) == {}
