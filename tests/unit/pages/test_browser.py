"""What opening a page in a browser must notice, planted: else a page that passes has shown nothing."""

import pytest

from labs import chromium

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
