"""The router's image."""

import pytest


def test_router_starts(host, expected):
    """The program of the plan, at the pin set's version (34)."""
    assert "--vllm-pd-disaggregation" in host.check_output(f"{expected.choice.spec.bin}/vllm-router --help")


def test_router_is_the_pinned_one(inventory, expected):
    """A plan's router arguments are for this version (34)."""
    pinned = expected.choice.pins.packages["router"]
    assert inventory["packages"][pinned.package] == pinned.version


def test_toy_proxy_is_where_the_document_starts_it(host, expected):
    """`python examples/nixl/toy_proxy_server.py` in the image, where the pin set has its tree."""
    if "vllm-gaudi" not in expected.choice.sources:
        pytest.skip(f"pin set {expected.choice.pins_name} has no vllm-gaudi tree, hence no toy proxy")
    assert host.file("/opt/proxy/examples/nixl/toy_proxy_server.py").is_file


def test_no_engine(inventory):
    """A router needs no torch: that is a gigabyte."""
    assert inventory["torch"] is None
    assert inventory["vllm"] is None
