"""What a container engine is asked to make."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from heteropd.containers import lifecycle


def test_a_container_is_made_without_its_images_entrypoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image whose entrypoint is `vllm serve` would be asked to `vllm serve vllm serve …`."""
    docker = MagicMock()
    docker.containers.create.return_value.id = "1"
    monkeypatch.setattr(lifecycle, "client", lambda _url: docker)
    options: dict[str, Any] = {"environment": {"A": "1"}, "network_mode": "host"}
    launch = lifecycle.ContainerLaunch(
        "n", "image", ["vllm", "serve", "m"], {"B": "2"}, {}, options, tmp_path / "log"
    )
    lifecycle.start(launch, "unix:///s")
    made = docker.containers.create.call_args
    assert made.kwargs["entrypoint"] == [""]
    assert made.kwargs["command"] == ["vllm", "serve", "m"]
    assert made.kwargs["environment"] == {"A": "1", "B": "2"}
