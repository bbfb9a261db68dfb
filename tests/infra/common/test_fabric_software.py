"""UCX and NIXL: one of each, and they work together. Numbers: rows of the failure table in docs/images.md."""

import pytest

from heteropd.config.pins import BUNDLED
from heteropd.images import contents_compare as compare


def test_exactly_one_ucx(inventory, expected, agree):
    """Two UCX in one process end in version errors or crashes (4); a wrong one lacks transports (1)."""
    agree(compare.one_ucx(inventory, expected))


def test_ucx_modules_are_there(inventory, expected, agree):
    """Without libuct_cuda or libuct_gaudi device memory passes for host memory (1, 6)."""
    agree(compare.libraries(inventory, expected))


def test_ucx_info_runs(host, inventory, expected, pinned):
    """`ucx_info` is how transports are looked at on a node (1, 7); a wheel's UCX comes without it."""
    if expected.nixl is None:
        pytest.skip("this image has no UCX")
    if expected.nixl.ucx == BUNDLED:
        pytest.skip("the UCX of the NIXL wheel comes without ucx_info")
    pinned(f"source.{expected.nixl.ucx}", f"part.{expected.nixl.ucx}")
    program = inventory["ucx"]["info"]
    assert program, "no ucx_info beside the UCX that was built"
    assert "Configured with" in host.check_output(f"{program} -v")
    assert "Transport: " in host.check_output(f"{program} -d"), "not even tcp or self"


def test_exactly_one_nixl(inventory, expected, agree):
    """NIXL drifts with `latest` and meta packages (2), and both nodes must agree on it (3)."""
    agree(compare.one_nixl(inventory, expected))


def test_nixl_starts_an_agent_over_ucx(inventory, expected, agree, pinned):
    """A NIXL without its UCX backend shows only when the first request needs it (5): start one now."""
    if expected.nixl is None:
        pytest.skip("this image has no NIXL")
    pinned("source.nixl", "part.nixl")
    if compare.waits_for_driver(inventory, expected):
        pytest.skip("this NIXL's UCX plugin needs libcuda.so.1, which comes with a GPU's driver")
    agree(compare.agent(inventory, expected))
