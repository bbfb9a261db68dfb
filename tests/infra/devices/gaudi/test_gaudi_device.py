"""A host with Gaudi cards, used or not; nothing here opens one. Numbers: failure modes."""

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


def test_habanalabs_is_loaded(host, facts):
    """Without habanalabs there is no /dev/accel at all (14)."""
    missing = [name for name in facts.accelerator_modules["gaudi"] if not reading.loaded(host, name)]
    assert not missing, f"not loaded: {', '.join(missing)}"


def test_cards_and_their_control_devices_are_there(doctor):
    """UCX looks for /dev/accel/accel0 before it offers gaudi_gdr, and the engine opens both (14)."""
    doctor("T2-14-accel-devices")
