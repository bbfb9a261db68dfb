"""The Gaudi image: what only its device can show. Numbers: rows of the failure table in docs/images.md."""

DEVICE = ("a Gaudi", "/dev/accel/accel0")


def test_ucx_sees_the_device(inventory, device):
    """Device memory that UCX does not see is registered as host memory and fails later (6, 14, 15)."""
    device(*DEVICE)
    assert "gaudi" in " ".join(inventory["ucx"]["memory_domains"] or [])


def test_ucx_offers_the_devices_transport(inventory, env, device):
    """The transport that the plan puts into UCX_TLS must exist (7)."""
    device(*DEVICE)
    assert env.platforms["gaudi"].transports.device in inventory["ucx"]["transports"]


def test_bridge_to_gaudi_is_there(host, expected):
    """torch without habana_frameworks is a CPU torch: the base's bridge must survive the build (36)."""
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('habana_frameworks') is None)"
    assert host.run("%s -c %s", expected.choice.spec.python, look).rc == 0
