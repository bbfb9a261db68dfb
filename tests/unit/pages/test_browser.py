"""What opening a page in a browser must notice, planted: else a page that passes has shown nothing."""

import pytest

from heteropd.errors import MissingPrerequisite
from labs import apt, chromium

ROWS = "".join(f"<p>{line} {'word ' * 40}</p>" for line in range(40))
SCRIPT = "<script>console.error('planted error')</script>"
IMAGE = '<img src="http://127.0.0.1:9/planted.png">'


@pytest.fixture
def opened(tmp_path, tmp_path_factory):
    program = chromium.find(tmp_path_factory.getbasetemp().parent)

    def open_text(text):
        page = tmp_path / "page.html"
        page.write_text(f"<!doctype html><title>t</title>{text}")
        return chromium.open_page(program, page, tmp_path)

    return open_text


def test_an_error_a_request_and_an_empty_page_are_noticed(opened):
    bad = opened(ROWS + SCRIPT + IMAGE)
    assert "planted error" in bad.console[0]
    assert bad.requests == ["http://127.0.0.1:9/planted.png"]
    assert not bad.blank
    assert opened("").blank


def test_without_a_browser_it_is_skipped_here_and_fails_in_ci(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        chromium.find(tmp_path)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(MissingPrerequisite):  # no apt-get on this PATH
        chromium.find(tmp_path)


def test_ci_installs_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "true")

    def install(programs):
        for program in programs:
            (tmp_path / program).touch(mode=0o755)

    monkeypatch.setattr(apt, "need", install)
    assert chromium.find(tmp_path) == str(tmp_path / "chromium")
