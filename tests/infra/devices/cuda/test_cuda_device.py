"""A host with GPUs, before and while an engine uses them. Numbers: failure modes."""

from infra_facts import reading
from infra_facts.fixtures import not_needed


def test_driver_answers(doctor):
    """Without a working driver no engine starts."""
    doctor("T2-51-accelerator-answers")


def test_planned_devices_are_there(doctor):
    """An engine that is told to use a device that is not there ends when it starts."""
    doctor("T2-61-planned-devices")


def test_containers_get_the_devices(doctor, examined):
    """Without the vendor's runtime no container is started, and an old driver ends the engine in it."""
    if not examined.target.docker:
        not_needed("no container is planned here")
    doctor("T2-63-container-runtime")
    doctor("T2-64-driver")


def test_nvidias_module_is_loaded(host, facts):
    """A driver that was updated and not loaded again answers with a version mismatch."""
    missing = [name for name in facts.accelerator_modules["cuda"] if not reading.loaded(host, name)]
    assert not missing, f"not loaded: {', '.join(missing)}"


def test_unified_memory_device_is_there(host):
    """A container without /dev/nvidia-uvm lists its GPUs and cannot use them."""
    assert host.file("/dev/nvidia-uvm").exists, "there is no /dev/nvidia-uvm"


def test_network_card_reaches_gpu_memory(doctor):
    """Without peer memory or dmabuf, data goes through the host, or registration fails (13)."""
    doctor("T2-13-gpudirect")
