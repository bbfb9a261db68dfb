"""A digest's way from the prefill's worker through both schedulers to the decode's worker, without engines.

Needs torch and vLLM: runs in the engine's environment, with the kit's pytest. Skipped elsewhere.
"""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("vllm")

from heteropd_engine.digest import handover  # noqa: E402
from heteropd_engine.digest.connector import _settings  # noqa: E402
from heteropd_engine.digest.scheduler import DigestScheduler, DigestTasks  # noqa: E402
from heteropd_engine.digest.stats import DigestStats  # noqa: E402
from heteropd_engine.digest.worker import DigestWorker  # noqa: E402

LAYERS, HEADS, SIZE = 12, 2, 4
TOKENS = 40
NAMES = [f"model.layers.{layer}.self_attn.attn" for layer in range(LAYERS)]


def caches(layout: str, block_size: int, dtype: Any = torch.float32, blocks: int = 8) -> dict[str, Any]:
    """Caches full of what earlier requests left, registered in the order of their names."""
    made = {}
    for name in sorted(NAMES):
        shape = (blocks, HEADS, block_size, 2 * SIZE)
        if layout == "NHD":
            shape = (blocks, block_size, HEADS, 2 * SIZE)
        cache = torch.randn(shape).to(dtype)
        made[name] = cache if layout == "HND" else cache.transpose(1, 2)
    return made


class Engine:
    """One side: its scheduler's half, its worker's half, its caches and its counters."""

    def __init__(
        self, layout: str, block_size: int, *, sample: float = 1.0, dtype: Any = torch.float32
    ) -> None:
        self.block_size, self.stats = block_size, DigestStats()
        self.scheduler = DigestScheduler(sample)
        self.caches = caches(layout, block_size, dtype)
        self.worker = DigestWorker(self.caches, 0, list, lambda: self.stats)

    def counts(self) -> dict[str, int]:
        counted = {name.removeprefix("digests_"): len(ones) for name, ones in self.stats.data.items()}
        return {name: count for name, count in counted.items() if count}

    def put(self, kv: Any, blocks: list[int]) -> None:
        """The prompt's KV [layer, head, token, K|V] into the caches."""
        for name, layer in zip(NAMES, kv, strict=True):
            for token in range(kv.shape[2]):
                block, place = blocks[token // self.block_size], token % self.block_size
                self.caches[name][block, :, place] = layer[:, token]


def request(name: str = "r", **params: Any) -> Any:
    return SimpleNamespace(
        request_id=name, num_prompt_tokens=TOKENS, num_computed_tokens=0, kv_transfer_params=params
    )


def step(one: Any, scheduled: int, blocks: list[int]) -> Any:
    return SimpleNamespace(
        scheduled_new_reqs=[SimpleNamespace(req_id=one.request_id, block_ids=(blocks,))],
        scheduled_cached_reqs=SimpleNamespace(req_ids=[], new_block_ids=[], resumed_req_ids=set()),
        num_scheduled_tokens={one.request_id: scheduled},
    )


NOTHING = SimpleNamespace(
    scheduled_new_reqs=[],
    scheduled_cached_reqs=SimpleNamespace(req_ids=[], new_block_ids=[], resumed_req_ids=set()),
    num_scheduled_tokens={},
)


def handed_over(prefill: Engine, kv: Any, *, late: bool = False) -> dict[str, Any]:
    """A prompt's way through the prefill; what its answer hands over, through JSON as routers do."""
    one, blocks = request(do_remote_decode=True), list(range(5, 5 - -(-TOKENS // prefill.block_size), -1))
    prefill.put(kv, blocks)
    prefill.scheduler.allocated(one, None, 0)
    prefill.worker.make(prefill.scheduler.step(step(one, TOKENS, blocks)).make)
    made = pickle.loads(pickle.dumps(prefill.worker.take_made()))  # as from a worker in another process
    answer = {"do_remote_prefill": True, "remote_block_ids": [blocks]}
    if late:  # the request goes on after the step that completed its prompt
        prefill.scheduler.collect(made)
    prefill.scheduler.finished("r", answer)
    if not late:
        prefill.scheduler.collect(made)
    prefill.scheduler.step(NOTHING)
    state = prefill.scheduler
    assert (state._keys, state._answers, state._ready) == ({}, {}, {}), "nothing is kept of it"
    return json.loads(json.dumps(answer))


def received(
    decode: Engine, kv: Any, params: dict[str, Any], mode: str = "enforce", *, cached: int = 0
) -> set[str]:
    """The prompt arrives at the decode, which had its first tokens; the requests that it refuses."""
    one, blocks = request(**params), [3, 1, 6][: -(-TOKENS // decode.block_size)]
    decode.scheduler.allocated(one, SimpleNamespace(get_block_ids=lambda: (blocks,)), TOKENS - cached)
    decode.worker.expect(decode.scheduler.step(NOTHING).check)
    assert decode.worker.check(set(), mode) == set(), "not yet there"
    decode.put(kv, blocks)
    return decode.worker.check({"r"}, mode)


@pytest.fixture
def kv() -> Any:
    torch.manual_seed(4)
    return torch.randn(LAYERS, HEADS, TOKENS, 2 * SIZE)


@pytest.fixture
def pair() -> tuple[Engine, Engine]:
    return Engine("HND", 16), Engine("NHD", 128)


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What the worker logs as errors."""
    lines: list[str] = []
    log = lambda text, *values: lines.append(text % values)  # noqa: E731
    monkeypatch.setattr("heteropd_engine.digest.worker.logger.error", log)
    return lines


@pytest.mark.parametrize("late", [False, True])
def test_right_kv_is_let_through(pair, kv, late) -> None:
    prefill, decode = pair
    assert received(decode, kv, handed_over(prefill, kv, late=late)) == set()
    assert (prefill.counts(), decode.counts()) == ({"made": 1}, {"equal": 1})


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_one_wrong_element_is_refused_and_named(pair, kv, mode, said) -> None:
    prefill, decode = pair
    params, spoilt = handed_over(prefill, kv), kv.clone()
    spoilt[10, 1, 17, 3] *= 1.001
    assert received(decode, spoilt, params, mode) == ({"r"} if mode == "enforce" else set())
    assert decode.counts() == {"differs": 1}
    assert said == [
        "request r: its KV is not what the prefill computed, first in layer 10, head 1, token 17"
        f" (digest={mode})"
    ]


@pytest.mark.parametrize(("token", "refused"), [(15, set()), (16, {"r"})])
def test_a_decodes_own_first_tokens_may_differ(kv, said, token, refused) -> None:
    """It may have computed them itself, in its own kernels; those that arrived may not."""
    prefill, decode = Engine("HND", 16), Engine("HND", 16)
    params, spoilt = handed_over(prefill, kv), kv.clone()
    spoilt[3, 0, token, 1] += 1
    assert received(decode, spoilt, params, cached=16) == refused
    assert ("differs" in decode.counts()) == bool(said) == bool(refused)
    assert not said or "first in token 16 (" in said[0]


def test_a_rank_does_not_judge_what_it_cannot_see(kv) -> None:
    prefill, decode = Engine("HND", 16), Engine("HND", 16)
    params = handed_over(prefill, kv)
    decode.worker._caches = [cache[:, :1] for cache in decode.worker._caches]
    spoilt = kv.clone()
    spoilt[0, 0, 0, 0] += 1
    assert received(decode, spoilt, params, cached=16) == {"r"}
    assert decode.counts() == {"unknown": 1}


@pytest.mark.parametrize("side", ["prefill", "decode"])
def test_no_memory_for_a_digest_is_no_pass(pair, kv, side, monkeypatch) -> None:
    prefill, decode = pair

    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(prefill.worker if side == "prefill" else decode.worker, "_digest", no_memory)
    assert received(decode, kv, handed_over(prefill, kv)) == {"r"}
    assert decode.counts() == {"unknown": 1}


def test_kv_that_nobody_announced_is_refused(pair) -> None:
    _, decode = pair
    assert decode.worker.check({"r"}, "enforce") == {"r"}
    assert decode.counts() == {"unknown": 1}


def test_what_the_sample_leaves_out_is_let_through_and_counted(kv) -> None:
    prefill, decode = Engine("HND", 16, sample=0.0), Engine("NHD", 128)
    params = handed_over(prefill, kv)
    assert params[handover.FIELD] is None
    assert received(decode, kv * 2, params) == set()
    assert (prefill.counts(), decode.counts()) == ({}, {"left_out": 1})


DAMAGE = {
    "dropped on the way": (lambda params: params.pop(handover.FIELD), "is missing"),
    "of another version": (lambda params: params[handover.FIELD].update(version=9), "is of version 9"),
    "cut short": (lambda params: params[handover.FIELD].update(heads="AAAA"), "is damaged"),
    "not base64": (lambda params: params[handover.FIELD].update(tokens="§"), "is damaged"),
    "of another prompt": (lambda params: params[handover.FIELD].update(shape=[12, 2, 39]), "is damaged"),
    "of another dtype": (lambda params: params[handover.FIELD].update(dtype="bfloat16"), "keeps bfloat16"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_digest_that_cannot_be_compared_is_refused(pair, kv, name, said) -> None:
    prefill, decode = pair
    params, (damage, problem) = handed_over(prefill, kv), DAMAGE[name]
    damage(params)
    assert received(decode, kv, params) == {"r"}
    assert decode.counts() == {"unknown": 1}
    assert problem in said[0]


def test_another_number_of_tokens_is_refused(pair, kv) -> None:
    prefill, decode = pair
    params = handed_over(prefill, kv)
    one = request(**params)
    one.num_prompt_tokens = TOKENS - 1
    decode.scheduler.allocated(one, SimpleNamespace(get_block_ids=lambda: ([3],)), TOKENS - 1)
    decode.worker.expect(decode.scheduler.step(NOTHING).check)
    assert decode.worker.check({"r"}, "enforce") == {"r"}


def test_chunks_are_digested_once_when_the_last_one_is_there(pair) -> None:
    prefill, _ = pair
    one = request(do_remote_decode=True)
    prefill.scheduler.allocated(one, None, 0)
    assert prefill.scheduler.step(step(one, 16, [5])) == DigestTasks({}, {})
    one.num_computed_tokens = 16
    more = step(one, 24, [4, 3])
    more.scheduled_cached_reqs = SimpleNamespace(
        req_ids=["r"], new_block_ids=[([4, 3],)], resumed_req_ids=set()
    )
    more.scheduled_new_reqs = []
    [(name, making)] = prefill.scheduler.step(more).make.items()
    assert (name, making.blocks, making.tokens) == ("r", [5, 4, 3], TOKENS)


def test_an_aborted_prompt_leaves_nothing(pair) -> None:
    prefill, decode = pair
    one = request(do_remote_decode=True)
    prefill.scheduler.allocated(one, None, 0)
    prefill.worker.make(prefill.scheduler.step(step(one, TOKENS, [1, 2, 3])).make)
    prefill.scheduler.finished("r", None)
    prefill.scheduler.collect(prefill.worker.take_made())
    state = prefill.scheduler
    assert (state._keys, state._answers, state._ready) == ({}, {}, {})
    decode.scheduler.allocated(
        request(do_remote_prefill=True), SimpleNamespace(get_block_ids=lambda: ([3],)), TOKENS
    )
    decode.worker.expect(decode.scheduler.step(NOTHING).check)
    decode.worker.forget({"r"})
    assert decode.worker._checks == {}


def test_a_prompt_in_the_decodes_own_cache_is_not_looked_at(pair) -> None:
    _, decode = pair
    decode.scheduler.allocated(request(do_remote_prefill=True), None, 0)
    assert decode.scheduler.step(NOTHING) == DigestTasks({}, {})


def test_stats_go_the_way_of_nixls_own() -> None:
    stats = DigestStats()
    assert stats.is_empty()
    stats.count("differs")
    assert not stats.is_empty()
    sent = stats.clone_and_reset()
    assert stats.is_empty()
    assert DigestStats(data=sent.to_dict()).aggregate(sent).data["digests_differs"] == [1, 1]


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ({}, "digest is None"),
        ({"digest": "on"}, "say observe or enforce"),
        ({"digest_sample": 0}, "a part of 1"),
    ],
)
def test_unknown_settings_stop_the_engine(extra, problem) -> None:
    known = {"digest": "enforce"} | extra if "digest_sample" in extra else extra
    transfer = SimpleNamespace(get_from_extra_config=known.get)
    with pytest.raises(ValueError, match=problem):
        _settings(SimpleNamespace(kv_transfer_config=transfer))
