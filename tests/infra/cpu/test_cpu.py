"""The CPU stand-in engine."""

_PLUGINS = (
    "from importlib.metadata import entry_points; "
    "print(*sorted(one.name for one in entry_points(group='vllm.general_plugins')))"
)


def test_vllm_finds_the_stand_in(host, expected):
    """Without the kit's plugin vLLM's own CPU attention answers garbage with HTTP 200 (docs/standin.md)."""
    assert "heteropd_standin" in host.check_output("%s -c %s", expected.choice.spec.python, _PLUGINS).split()


def test_native_code_finds_its_numa_library(host, expected):
    """vLLM's extension wants libnuma, which slim bases lack; the library path must lead to one that loads."""
    load = "import ctypes; ctypes.CDLL('libnuma.so.1')"
    host.run_expect([0], "%s -c %s", expected.choice.spec.python, load)


def test_lean(inventory):
    """GPU-only packages are half of a naive image."""
    assert not {"triton", "nixl-cu13"} & set(inventory["packages"])
