"""One engine, one base, one registry and one build for all image tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.fixtures import bases, cpu_image, engine, images, registry, second_engine

__all__ = ["bases", "cpu_image", "engine", "images", "registry", "second_engine"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Builds and real engines, on a machine that may be busy."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(2400))
