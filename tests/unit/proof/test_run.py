"""The whole proof on an imagined topology: it passes when all is well, and each planted fault fails it."""

import json

import pytest

from heteropd import proof
from heteropd.errors import BadInput
from heteropd.proof import Verdict
from heteropd.system import SystemClock


def failed(verdict):
    return {check.id for check in verdict.failures()}


def status(verdict, check_id):
    return next(check.status for check in verdict.checks if check.id == check_id)


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_a_sound_topology_passes(prove, settings, noise):
    verdict = prove(noise=noise, full=True)
    assert failed(verdict) == set()
    assert verdict.result == "PASS"
    assert {check.status for check in verdict.checks} == {"PASS"}
    assert len(verdict.probes) >= 24
    assert {probe.outcome for probe in verdict.probes} <= {"equal", "tie"}
    assert sum(probe.sent == "one by one" for probe in verdict.probes) == settings.probes.one_by_one
    assert sum(probe.sent == "again" for probe in verdict.probes) == settings.probes.again
    both = sum("prefill" in probe.against for probe in verdict.probes if probe.sent != "again")
    assert both == verdict.floor.probes >= settings.probes.prefill_references
    warm = [probe for probe in verdict.probes if probe.prompt_tokens % 16 == 1 and probe.sent != "again"]
    assert verdict.floor.warm_probes == len(warm) >= 5
    assert all("decode" in probe.against for probe in verdict.probes)


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
        ("merge", {"identity.tokenizer"}),
        ("template", {"identity.tokenizer"}),
        ("block size", {"identity.block_size"}),
        ("layout", {"identity.layout"}),
        ("dtype", {"identity.dtype"}),
        ("layer off", {"identity.weights"}),
        ("weights file", {"identity.files"}),
        ("zeroed: unsalted", {"integrity.document", "integrity.completion", "integrity.chat"}),
        ("zeroed: text", {"integrity.document", "integrity.completion"}),
        ("zeroed: may stop", {"integrity.document", "integrity.completion", "integrity.chat"}),
        ("zeroed: streams", {"integrity.completion", "integrity.chat"}),
        ("zeroed: chats", {"integrity.chat"}),
        ("zeroed: no logprobs", {"integrity.document"}),
        ("zeroed: long", {"integrity.tokens", "integrity.distributions"}),
        ("prefill writes", {"kv_transfer.prefill_generated"}),
        ("fetched late", {"kv_transfer.failures"}),
        ("others", {"connectivity.idle"}),
        ("prefill frozen", {"connectivity.computing"}),
        ("decode frozen", {"connectivity.computing"}),
        ("decode stopped", {"connectivity.reachable"}),
        ("router stopped", {"connectivity.reachable"}),
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


@pytest.mark.parametrize(("fault", "token"), [("step counts", 1), ("step counts later", 3)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_prompt_whose_last_token_counts_in_a_step_of_its_own_is_right_by_a_second_opinion(
    prove, fault, token, dtype
):
    verdict = prove(fault, dtype=dtype)
    assert failed(verdict) == set()
    (first, again) = [probe for probe in verdict.probes if probe.prompt_tokens == 607]
    assert first.distance == again.distance == 0.0
    assert first.first_distance > 1
    assert first.against[-1] == f"decode, last token in a step of its own (token {token})"
    assert "1 by a second opinion" in next(c.text for c in verdict.checks if c.id == "integrity.tokens")


def test_a_prompt_on_which_the_engines_alone_are_far_apart_is_judged_by_its_own_noise(prove):
    verdict = prove("engines apart", dtype="bfloat16")
    assert failed(verdict) == set()
    (probe,) = [probe for probe in verdict.probes if probe.prompt_tokens == 607 and probe.sent != "again"]
    assert (probe.against[-1], probe.distance > 0.6) == ("prefill, for the noise of this prompt", True)
    text = next(check.text for check in verdict.checks if check.id == "integrity.distributions")
    assert text.endswith("1 within the noise of its own prompt")
    assert "integrity.distributions" in failed(prove("engines apart"))  # no noise of float32


def test_without_a_second_opinion_a_probe_beyond_the_noise_fails(prove):
    verdict = prove("step counts, no opinion", dtype="bfloat16")
    assert {"integrity.tokens", "integrity.reuse"} <= failed(verdict)


@pytest.mark.parametrize("fault", ["last block", "swapped", "stale"])
def test_a_fault_is_caught_above_bfloat16_noise_too(prove, fault):
    assert "integrity.tokens" in failed(prove(fault, noise=0.03, dtype="bfloat16"))


def test_a_prefix_cache_that_spoils_repeated_prompts_fails_nothing_else(prove):
    verdict = prove("reuse")
    assert failed(verdict) == {"integrity.reuse"}
    assert "--no-enable-prefix-caching" in verdict.failures()[0].fix


def test_right_answers_from_one_engine_alone_do_not_pass(prove):
    verdict = prove("whole to decode")
    assert {probe.outcome for probe in verdict.probes} == {"equal"}
    assert verdict.result == "FAIL"


def test_a_fault_in_one_probe_of_many_names_its_length(prove):
    verdict = prove("stale")
    assert [probe.outcome for probe in verdict.probes].count("equal") == len(verdict.probes) - 1


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


def test_noise_of_steps_in_16_bits_is_no_fault(prove):
    """What is computed in steps of other shapes differs in 16 bits, though both engines agree to the bit:
    cold against warm tells how much that is."""
    for seed in range(3):
        verdict = prove(steps=0.03 + seed / 100, dtype="bfloat16")
        assert verdict.passed, verdict.headline()
        assert verdict.floor.maximum == 0.0
        assert verdict.floor.warm_maximum > 0.05
    assert "integrity.tokens" in failed(prove("last block", steps=0.03, dtype="bfloat16"))


def test_the_longest_prompts_are_sent_where_there_is_time(prove, settings):
    verdict = prove(full=True)
    assert max(probe.prompt_tokens for probe in verdict.probes) == 2048 - settings.probes.max_tokens
    assert status(verdict, "integrity.lengths") == "PASS"
    assert "integrity.tokens" in failed(prove("zeroed: longest", full=True))


def test_without_time_the_longest_are_said_not_to_be_sent_unless_it_is_to_be_thorough(prove, settings):
    slow = {"probes": settings.probes.model_copy(update={"longest_s": 1e-9})}
    verdict = prove(changes=slow, clock=RunningClock())
    assert verdict.passed
    assert status(verdict, "integrity.lengths") == "SKIP"
    assert "600" not in [str(probe.prompt_tokens) for probe in verdict.probes]
    assert max(probe.prompt_tokens for probe in verdict.probes) == 607
    thorough = prove(changes=slow, clock=RunningClock(), thorough=True)
    assert status(thorough, "integrity.lengths") == "PASS"
    assert "thorough" in thorough.headline()


class RunningClock(SystemClock):
    """Real time, but nobody waits."""

    def sleep(self, seconds):
        del seconds


def test_geometry_that_is_not_seen_is_not_claimed(prove):
    verdict = prove("no cache info", logs=False)
    assert verdict.passed
    for name in ("block_size", "layout", "dtype"):
        assert status(verdict, f"identity.{name}") == "SKIP"
    assert verdict.headline().endswith("not seen of the engines: block_size, layout, dtype")
    assert "conversion" not in verdict.note
    assert "conversion" in prove().note


def test_a_model_without_a_chat_template_is_proven_without_chats(prove):
    verdict = prove("no template")
    assert verdict.result == "PASS", verdict.headline()
    check = next(check for check in verdict.checks if check.id == "connectivity.chat")
    assert check.status == "SKIP"
    assert "chat template" in check.text
    assert "integrity.chat" not in {check.id for check in verdict.checks}


def test_a_hand_over_that_somebody_abandoned_is_none_of_ours(prove):
    verdict = prove("abandoned")
    assert verdict.passed, verdict.headline()
    check = next(check for check in verdict.checks if check.id == "kv_transfer.failures")
    assert check.text.endswith("; 1 hand-overs of others expired")


def test_an_engine_that_freezes_is_named_in_time(prove, settings):
    waits = settings.waits.model_copy(update={"stall_s": 0.6, "first_token_s": 0.3})
    verdict = prove("decode freezes", changes={"waits": waits}, clock=SystemClock())
    assert failed(verdict) == {"connectivity.progress"}
    (check,) = verdict.failures()
    assert "requests had no answer" in check.text
    assert "-" not in check.text.replace("decode-0", "")
