"""A host with Gaudi cards, used or not; nothing here opens one. Numbers: failure modes."""

from heteropd.infra import reading


def test_driver_answers(doctor):
    """Without a working driver no engine starts."""
    doctor("T2-51-accelerator-answers")


def test_habanalabs_is_loaded(host, facts):
    """Without habanalabs there is no /dev/accel at all (14)."""
    missing = [name for name in facts.accelerator_modules["gaudi"] if not reading.loaded(host, name)]
    assert not missing, f"not loaded: {', '.join(missing)}"


def test_cards_and_their_control_devices_are_there(doctor):
    """UCX looks for /dev/accel/accel0 before it offers gaudi_gdr, and the engine opens both (14)."""
    doctor("T2-14-accel-devices")
