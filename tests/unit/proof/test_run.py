"""The whole proof on an imagined topology: it passes when all is well, and each planted fault fails it."""

import json

import pytest

from heteropd import proof
from heteropd.errors import BadInput
from heteropd.proof import Verdict


def failed(verdict):
    return {check.id for check in verdict.failures()}


def status(verdict, check_id):
    return next(check.status for check in verdict.checks if check.id == check_id)


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-5])
def test_a_sound_topology_passes(prove, settings, noise):
    verdict = prove(noise=noise)
    assert failed(verdict) == set()
    assert verdict.result == "PASS"
    assert {check.status for check in verdict.checks} == {"PASS"}
    assert len(verdict.probes) >= 24
    assert {one.outcome for one in verdict.probes} <= {"equal", "tie"}
    assert sum(one.sent == "one by one" for one in verdict.probes) == settings.probes.one_by_one
    assert sum(one.sent == "again" for one in verdict.probes) == settings.probes.again
    both = sum("prefill" in one.against for one in verdict.probes if one.sent != "again")
    assert both == verdict.floor.probes == settings.probes.prefill_references
    assert all("decode" in one.against for one in verdict.probes)


def test_a_noisy_pair_passes_in_bfloat16_and_not_as_float32(prove):
    assert prove(noise=0.02, dtype="bfloat16").passed
    assert "identity.weights" in failed(prove(noise=0.02, dtype="float32"))


@pytest.mark.parametrize(
    ("fault", "caught_by"),
    [
        ("last block", {"integrity.tokens", "integrity.distributions"}),
        ("swapped", {"integrity.tokens", "integrity.distributions"}),
        ("stale", {"integrity.tokens", "integrity.distributions"}),
        ("reuse", {"integrity.reuse"}),
        ("small", {"integrity.distributions", "integrity.shift"}),
        ("one small", {"integrity.distributions"}),
        ("block not sent", {"kv_transfer.bytes", "kv_transfer.single"}),
        (
            "recomputed",
            {"kv_transfer.bytes", "kv_transfer.external", "kv_transfer.recomputed", "kv_transfer.proof"},
        ),
        ("whole to decode", {"kv_transfer.bytes", "kv_transfer.prefill_saw", "kv_transfer.proof"}),
        ("whole to prefill", {"kv_transfer.bytes", "kv_transfer.decode_saw", "kv_transfer.proof"}),
        ("failed transfer", {"kv_transfer.failures"}),
        ("weights", {"identity.weights"}),
        ("tokenizer", {"identity.tokenizer"}),
        ("version", {"identity.version"}),
        ("length", {"identity.max_model_len"}),
        ("model", {"identity.model"}),
        ("leak", {"connectivity.document_request"}),
        ("lost event", {"connectivity.completion_stream", "connectivity.chat_stream"}),
        ("no done", {"connectivity.completion_stream", "connectivity.chat_stream"}),
        ("router refuses", {"connectivity.document_request", "integrity.answered"}),
        ("prefill refuses", {"integrity.answered"}),
        ("prefill down", {"connectivity.reachable"}),
        ("decode down", {"connectivity.reachable"}),
        ("router down", {"connectivity.reachable"}),
    ],
)
def test_a_planted_fault_is_caught(prove, fault, caught_by):
    verdict = prove(fault)
    assert not verdict.passed
    assert caught_by <= failed(verdict), failed(verdict)
    assert all(check.fix for check in verdict.failures())


@pytest.mark.parametrize("fault", ["last block", "swapped", "stale"])
def test_a_fault_is_caught_above_bfloat16_noise_too(prove, fault):
    assert "integrity.tokens" in failed(prove(fault, noise=0.03, dtype="bfloat16"))


def test_a_prefix_cache_that_spoils_repeated_prompts_fails_nothing_else(prove):
    verdict = prove("reuse")
    assert failed(verdict) == {"integrity.reuse"}
    assert "--no-enable-prefix-caching" in verdict.failures()[0].fix


def test_right_answers_from_one_engine_alone_do_not_pass(prove):
    verdict = prove("whole to decode")
    assert {one.outcome for one in verdict.probes} == {"equal"}
    assert verdict.result == "FAIL"


def test_a_fault_in_one_probe_of_many_names_its_length(prove):
    verdict = prove("stale")
    assert [one.outcome for one in verdict.probes].count("equal") == len(verdict.probes) - 1


def test_engines_that_count_nothing_leave_movement_unproven(prove):
    verdict = prove(counters=False)
    assert status(verdict, "kv_transfer.bytes") == "SKIP"
    assert failed(verdict) == {"kv_transfer.proof"}


def test_without_the_models_configuration_bytes_are_checked_by_proportion(prove):
    verdict = prove(config=False)
    assert verdict.passed
    assert "kv_transfer.single" in failed(prove("block not sent", config=False))


def test_answers_without_log_probabilities_do_not_pass(prove):
    verdict = prove("no logprobs")
    assert verdict.result == "INCOMPLETE"
    assert status(verdict, "integrity.distributions") == "SKIP"


def test_a_stand_in_run_says_so(prove):
    verdict = prove()
    assert verdict.standin
    assert "not prove the accelerators" in verdict.note
    assert "STAND-IN" in verdict.headline()


def test_the_verdict_survives_json(prove):
    verdict = prove("stale")
    text = verdict.model_dump_json()
    assert json.loads(text)["passed"] is False
    assert Verdict.model_validate_json(text) == verdict


def test_a_plan_without_a_decode_engine_is_refused(make_plan, settings):
    plan = make_plan()
    broken = plan.model_copy(update={"roles": [role for role in plan.roles if role.role != "decode"]})
    with pytest.raises(BadInput, match="decode"):
        proof.run(broken, settings, None, None)


def test_former_names_of_a_finding_stay_readable(prove):
    """Users' scripts read them: `says` became `text`, `mend` became `fix`, a check names its group."""
    for check in json.loads(prove("stale").model_dump_json())["checks"]:
        assert check["says"] == check["text"]
        assert check["mend"] == check["fix"]
        assert check["id"].startswith(f"{check['group']}.")
        assert {"status", "evidence", "essential"} <= set(check)
