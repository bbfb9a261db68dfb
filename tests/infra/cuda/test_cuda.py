"""The CUDA image: what only its device can show. Numbers: rows of the failure table in docs/images.md."""

import pytest

DEVICE = ("an NVIDIA GPU", "/dev/nvidiactl")


def test_ucx_sees_the_device(inventory, device):
    """Device memory that UCX does not see is registered as host memory and fails later (6, 7)."""
    device(*DEVICE)
    assert "cuda" in " ".join(inventory["ucx"]["memory_domains"] or [])


def test_ucx_offers_the_devices_transport(inventory, env, device):
    """The transport that the plan puts into UCX_TLS must exist (7)."""
    device(*DEVICE)
    assert env.platforms["cuda"].transports.device in inventory["ucx"]["transports"]


def test_verbs_of_nixls_wheel_are_the_systems(host):
    """The wheel's own libibverbs finds no driver of this distribution: no RDMA then (docs/fabric-lab.md)."""
    links = host.check_output(r"find /opt/heteropd -path '*nixl*.libs/libibverbs-*' -printf '%p %l\n'")
    if not links:
        pytest.skip("NIXL is no wheel here")
    for line in links.splitlines():
        file, _, target = line.partition(" ")
        assert target.endswith("/libibverbs.so.1"), f"{file} is the wheel's own"
