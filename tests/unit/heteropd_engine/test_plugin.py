from __future__ import annotations

import importlib
import subprocess
import sys
import types
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import pytest

from heteropd_engine import standin
from heteropd_engine.standin import placement, progress, waiting


def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A vLLM registry that remembers what is put into it."""
    registered: dict[str, str] = {}
    module = types.ModuleType("vllm.v1.attention.backends.registry")
    names = types.SimpleNamespace(CPU_ATTN="CPU_ATTN", CPU_MLA="CPU_MLA", AMX_MLA="AMX_MLA")
    module.AttentionBackendEnum = names  # type: ignore[attr-defined]
    module.register_backend = registered.__setitem__  # type: ignore[attr-defined]
    for parent in ("vllm", "vllm.v1", "vllm.v1.attention", "vllm.v1.attention.backends"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    platform = types.ModuleType("vllm.platforms.cpu")
    platform.CpuPlatform = type("CpuPlatform", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "vllm.platforms", types.ModuleType("vllm.platforms"))
    monkeypatch.setitem(sys.modules, platform.__name__, platform)
    return registered


@pytest.mark.parametrize("value", [None, "", "0", "true"])
def test_register_does_nothing_unless_asked(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    registered = registry(monkeypatch)
    monkeypatch.delenv(standin.ENABLE_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(standin.ENABLE_VARIABLE, value)
    standin.register()
    assert registered == {}


def test_register_replaces_every_cpu_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = registry(monkeypatch)
    monkeypatch.setenv(standin.ENABLE_VARIABLE, "1")
    monkeypatch.setattr(progress, "pace_progress_thread", lambda: True)
    monkeypatch.setattr(waiting, "rest_between_messages", lambda: None)
    monkeypatch.setattr(placement, "stay_on_bound_cores", lambda: None)
    standin.register()
    assert registered["CPU_ATTN"] == "heteropd_engine.standin.backend.StandinBackend"
    platform = sys.modules["vllm.platforms.cpu"].CpuPlatform
    blocks = [1.0]
    assert platform.pack_kv_cache(kv_cache=blocks, indices=[0]) is None
    assert blocks == [1.0], "what came from another attention backend is left as it is"
    assert (
        registered["CPU_MLA"] == registered["AMX_MLA"] == "heteropd_engine.standin.backend.RefusedMLABackend"
    )


def test_vllm_finds_the_plugin() -> None:
    found = [one for one in entry_points(group="vllm.general_plugins") if one.name == "heteropd_standin"]
    if not found:
        pytest.skip("the package is not installed here, only on the path")
    assert found[0].load() is standin.register


def test_importing_the_package_imports_no_engine() -> None:
    code = "import sys, heteropd_engine.standin; sys.exit('torch' in sys.modules or 'vllm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Config:
    """Like NIXL's agent configuration: plain attributes."""


@pytest.fixture
def nixl(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    package, api = types.ModuleType("nixl"), types.ModuleType("nixl._api")
    api.nixlBind = types.SimpleNamespace(nixlAgentConfig=Config)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nixl", package)
    monkeypatch.setitem(sys.modules, "nixl._api", api)
    monkeypatch.setenv("UCX_RCACHE_MAX_UNRELEASED", "")  # so that what the engine sets is gone afterwards
    monkeypatch.delenv("UCX_RCACHE_MAX_UNRELEASED")
    return api


def test_progress_thread_gets_a_pause(nixl: types.ModuleType) -> None:
    assert progress.pace_progress_thread(250)
    config = nixl.nixlBind.nixlAgentConfig()
    config.pthrDelay, config.useProgThread = 0, True
    assert (config.pthrDelay, config.useProgThread) == (250, True)
    assert isinstance(config, Config)


def test_a_delay_that_nixl_chose_is_kept(nixl: types.ModuleType) -> None:
    progress.pace_progress_thread(250)
    config = nixl.nixlBind.nixlAgentConfig()
    config.pthrDelay = 7
    assert config.pthrDelay == 7


def test_without_nixl_nothing_is_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    importer: Callable[[str], Any] = missing
    monkeypatch.setattr(importlib, "import_module", importer)
    assert not progress.pace_progress_thread()


class SpinCondition:
    """Like vLLM's: keeps how long it may spin, and how long each wait was asked to take."""

    def __init__(self, is_reader: bool, busy_loop_s: float = 1.0) -> None:
        self.is_reader, self.busy_loop_s = is_reader, busy_loop_s
        self.waits: list[int | None] = []

    def wait(self, timeout_ms: int | None = None) -> None:
        self.waits.append(timeout_ms)


def test_queues_sleep_instead_of_spinning_and_never_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = types.ModuleType("vllm.distributed.device_communicators.shm_broadcast")
    queues.SpinCondition = SpinCondition  # type: ignore[attr-defined]
    monkeypatch.setattr(importlib, "import_module", lambda _name: queues)
    waiting.rest_between_messages(spin_s=0.25, longest_ms=40)
    condition = queues.SpinCondition(is_reader=True)
    for asked in (None, 60_000, 7):
        condition.wait(timeout_ms=asked)
    assert condition.busy_loop_s == 0.25
    assert condition.waits == [40, 40, 7]
    assert queues.SpinCondition(is_reader=False, busy_loop_s=0).busy_loop_s == 0


class CpuPlatform:
    """Like vLLM's: names the cores that its NIXL worker then moves to."""

    @classmethod
    def discover_numa_topology(cls) -> list[list[int]]:
        return [[0, 1]]


def test_an_engine_stays_on_the_cores_that_it_was_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = types.ModuleType("vllm.platforms.cpu")
    platform.CpuPlatform = CpuPlatform  # type: ignore[attr-defined]
    monkeypatch.setattr(placement.importlib, "import_module", lambda _name: platform)
    placement.stay_on_bound_cores()
    assert CpuPlatform.discover_numa_topology() == []
