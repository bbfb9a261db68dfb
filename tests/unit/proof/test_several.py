"""Several engines of a role: every pair is proven, and a fault that only one pair has is found and named."""

import pytest

PAIR_CHECKS = {"kv_transfer.pairs", "integrity.pairs"}


def found(verdict):
    return {check.id: check for check in verdict.checks}


def failed(verdict):
    return {check.id for check in verdict.failures()}


def test_one_of_each_has_no_pairs_to_tell_apart(prove):
    verdict = prove()
    assert not PAIR_CHECKS & set(found(verdict))
    assert len(verdict.checks) == 35


@pytest.mark.parametrize(("prefills", "decodes"), [(1, 2), (2, 1), (2, 2), (3, 2)])
def test_every_pair_is_proven(prove, prefills, decodes):
    verdict = prove(prefills=prefills, decodes=decodes)
    assert failed(verdict) == set()
    assert verdict.passed
    for name in PAIR_CHECKS:
        evidence = found(verdict)[name].evidence
        assert evidence["pairs"] == evidence["tried"] == prefills * decodes
        assert evidence["wrong"] == []
        assert len(evidence["prompt_tokens"]) == 2
    assert f"{prefills * decodes} of {prefills * decodes} pairs" in found(verdict)["kv_transfer.pairs"].text


def test_too_many_pairs_are_said_and_every_engine_is_in_one(prove):
    verdict = prove(prefills=9, decodes=8)
    assert verdict.passed
    check = found(verdict)["kv_transfer.pairs"]
    assert (check.evidence["tried"], check.evidence["pairs"]) == (64, 72)
    assert "of 72; every engine is in one of them" in check.text


@pytest.mark.parametrize(
    ("fault", "caught_by"),
    [
        ("one pair garbles", "integrity.pairs"),
        ("one pair recomputes", "kv_transfer.pairs"),
    ],
)
def test_a_fault_of_one_pair_is_found_and_named(prove, fault, caught_by):
    """The router takes prefill-0 with decode-0 and prefill-1 with decode-1: it never sees this pair."""
    verdict = prove(fault, prefills=2, decodes=2)
    assert failed(verdict) == {caught_by}
    check = found(verdict)[caught_by]
    assert check.evidence["wrong"] == ["prefill-0 with decode-1"]
    assert "prefill-0 with decode-1" in check.text
    assert check.fix


def test_a_prefill_that_keeps_nothing_is_named(prove):
    verdict = prove("keeps nothing", prefills=2, decodes=1)
    assert failed(verdict) == PAIR_CHECKS
    assert "prefill-1 kept no KV for decode-0" in found(verdict)["integrity.pairs"].text


def test_faults_of_all_pairs_are_caught_as_ever(prove):
    assert {"integrity.tokens", "integrity.pairs"} <= failed(prove("swapped", prefills=1, decodes=2))
    assert {"kv_transfer.bytes", "kv_transfer.pairs"} <= failed(
        prove("block not sent", prefills=1, decodes=2)
    )


def test_engines_that_count_nothing_skip_the_movement_of_pairs(prove):
    check = found(prove(counters=False, prefills=1, decodes=2))["kv_transfer.pairs"]
    assert (check.status, check.essential) == ("SKIP", False)
