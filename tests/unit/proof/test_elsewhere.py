"""A topology that the kit did not start is proven from its URLs; what nobody tells is one line."""

from dataclasses import replace

import pytest
from imagined import Topology
from rich.console import Console

from heteropd import proof
from heteropd.errors import BadInput
from heteropd.proof.elsewhere import Given, plan_elsewhere

GIVEN = Given(
    router="http://127.0.0.1:18000",
    prefills=["http://127.0.0.1:18100/"],
    decodes=["http://127.0.0.1:18200"],
    layouts={"prefill": "HND", "decode": "NHD"},
    block_sizes={},
)


def planned(fault=None, **changes):
    return plan_elsewhere(replace(GIVEN, **changes), Topology(fault).transport)


def test_model_and_block_sizes_are_asked_of_the_engines():
    plan = planned()
    prefill, decode = (plan.of(side)[0].kv for side in ("prefill", "decode"))
    assert (plan.model, plan.model_source) == ("m", "/models/m")
    assert (prefill.block_size, prefill.wire_block_size, decode.block_size) == (16, 16, 128)
    assert decode.permute_on_receive
    assert plan.router.url == "http://127.0.0.1:18000"


def test_a_prefill_that_converts_shows_the_agreed_blocks():
    changes = {"block_sizes": {"prefill": 128, "decode": 16}, "agreed_block_size": 16}
    plan = planned(layouts={"prefill": "NHD", "decode": "HND"}, **changes)
    kv = plan.of("prefill")[0].kv
    assert (kv.block_size, kv.wire_block_size, kv.wire_layout, kv.convert_on_save) == (128, 16, "HND", True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"prefills": []}, "prefill: missing; add prefill=http://HOST:PORT"),
        ({"layouts": {"prefill": "HND"}}, "decode_kv_layout: missing, and engines do not tell it"),
        ({"layouts": {"prefill": "hnd", "decode": "NHD"}}, "prefill_kv_layout: 'hnd': is not a KV layout"),
        ({"router": "https://127.0.0.1:1"}, "url: 'https://127.0.0.1:1': does not begin with http://"),
        (
            {"router": "ftp://127.0.0.1", "layouts": {}, "prefills": []},
            "url: 'ftp://127.0.0.1': does not begin",
        ),
        ({"decodes": ["ftp://127.0.0.1"], "layouts": {}}, "decode: 'ftp://127.0.0.1': does not begin"),
        ({"router": "http://127.0.0.1:1/v1"}, "is not the URL of an engine or router"),
        ({"router": "http://127.0.0.1:port"}, "is not a URL"),
        ({"router": "127.0.0.1:8000"}, "does not begin with http://"),
        ({"model": "n"}, "model: 'n': is not served by the prefill; one of m"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(changes, text):
    with pytest.raises(BadInput) as refused:
        planned(**changes)
    assert text in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_secret_in_a_url_is_refused_and_not_shown():
    with pytest.raises(BadInput) as refused:
        planned(decodes=["http://me:hunter2@127.0.0.1:18200"])
    assert "hunter2" not in str(refused.value)


def test_an_engine_that_does_not_tell_its_block_size_must_be_spoken_for():
    with pytest.raises(
        BadInput, match=r"prefill_block_size.*not told by /metrics; prefill_block_size=TOKENS"
    ):
        planned("no cache info")
    assert planned("no cache info", block_sizes={"prefill": 16, "decode": 128}).model == "m"


def test_an_engine_that_is_down_is_named():
    with pytest.raises(BadInput, match=r"decode at http://127.0.0.1:18200 does not accept connections"):
        planned("decode down")


@pytest.mark.parametrize(("fault", "result"), [(None, "PASS"), ("stale", "FAIL"), ("recomputed", "FAIL")])
def test_it_is_proven_and_nothing_is_claimed_of_what_it_runs_on(fault, result, settings, clock):
    imagined = Topology(fault)
    plan = plan_elsewhere(GIVEN, imagined.transport)
    options = proof.ProofOptions(transport=imagined.transport)
    verdict = proof.run(plan, settings, clock, Console(quiet=True), options)
    assert verdict.result == result, verdict.headline()
    assert "not started by the kit" in verdict.headline()
    assert "hardware" not in verdict.headline()
    assert "layout" in verdict.headline().partition("not seen of the engines")[2]
