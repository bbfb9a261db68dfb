"""Options that several labs take."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep", action="store_true", help="leave a lab running at the end, until Ctrl-C")
    parser.addoption("--times", type=int, default=1, help="perform the node lab's tests so often")
