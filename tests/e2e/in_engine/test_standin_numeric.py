"""The stand-in's numbers, against float64 and against vLLM's own conversion.

Needs torch, vLLM and pytest in one environment: the engine's, plus pytest. Skipped elsewhere.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("vllm")

from vllm.distributed.kv_transfer.kv_connector.v1.nixl.pull_worker import (  # noqa: E402
    NixlPullConnectorWorker,
)

from heteropd_engine.standin.backend import StandinImpl, Unsupported  # noqa: E402
from heteropd_engine.standin.batch import plan_batch  # noqa: E402
from heteropd_engine.standin.blocks import convert_to_hnd, gather, in_memory_order  # noqa: E402
from heteropd_engine.standin.connector import StandinDecodeConnector  # noqa: E402
from heteropd_engine.standin.geometry import expand_block_ids  # noqa: E402

HEADS, KV_HEADS, SIZE = 9, 3, 64
REQUESTS = [(1, 37), (50, 50), (1, 16), (20, 90), (1, 200), (3, 3), (1, 1), (33, 160), (1, 129)]
"""(new tokens, context): decodes, whole prompts, later chunks and prefix hits, mixed in one step."""
TOLERANCE = {torch.float32: 5e-6, torch.bfloat16: 2e-2}


def empty_cache(layout: str, block_size: int, blocks: int = 240, dtype: Any = torch.float32):
    if layout == "HND":
        return torch.zeros(blocks, KV_HEADS, block_size, 2 * SIZE, dtype=dtype)
    return torch.zeros(blocks, block_size, KV_HEADS, 2 * SIZE, dtype=dtype).transpose(1, 2)


def slots_of(ids: list[int], block_size: int, tokens: int) -> Any:
    return torch.tensor([ids[t // block_size] * block_size + t % block_size for t in range(tokens)])


def attend_in_float64(query, keys, values):
    new, context = query.shape[0], keys.shape[0]
    keys, values = (x.double().repeat_interleave(HEADS // KV_HEADS, 1) for x in (keys, values))
    scores = torch.einsum("qhd,khd->hqk", query.double(), keys) * SIZE**-0.5
    hidden = torch.ones(new, context, dtype=torch.bool).triu(context - new + 1)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(hidden, float("-inf")).softmax(-1), values)


@pytest.mark.parametrize("layout", ["HND", "NHD"])
@pytest.mark.parametrize("block_size", [16, 32, 64, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mixed_step_attends_as_float64_does(layout: str, block_size: int, dtype: Any) -> None:
    torch.manual_seed(1)
    attention = StandinImpl(HEADS, SIZE, SIZE**-0.5, KV_HEADS)
    cache = empty_cache(layout, block_size, dtype=dtype)
    cache.copy_(torch.randn(cache.shape))  # what earlier requests left behind
    free = (torch.randperm(239) + 1).tolist()
    table = torch.randint(1, 240, (len(REQUESTS), 16), dtype=torch.int32)
    starts, contexts, stored = [0], [], []
    for row, (new, context) in enumerate(REQUESTS):
        ids = [free.pop() for _ in range(-(-context // block_size))]
        table[row, : len(ids)] = torch.tensor(ids)
        query = torch.randn(new, HEADS, SIZE, dtype=dtype)
        keys, values = (torch.randn(context, KV_HEADS, SIZE, dtype=dtype) for _ in range(2))
        attention.do_kv_cache_update(None, keys, values, cache, slots_of(ids, block_size, context))
        stored.append((query, keys, values))
        starts.append(starts[-1] + new)
        contexts.append(context)
    output = torch.empty(starts[-1], HEADS, SIZE, dtype=dtype)
    batch = plan_batch(starts, contexts, table, block_size, dtype)
    attention.forward(None, torch.cat([q for q, _, _ in stored]), None, None, cache, batch, output)
    for row, one in enumerate(stored):
        difference = (output[starts[row] : starts[row + 1]].double() - attend_in_float64(*one)).abs().max()
        assert difference < TOLERANCE[dtype], REQUESTS[row]


def test_padding_is_written_where_nobody_reads() -> None:
    attention, cache = StandinImpl(HEADS, SIZE, SIZE**-0.5, KV_HEADS), empty_cache("HND", 16, 4)
    fresh = torch.ones(2, KV_HEADS, SIZE)
    attention.do_kv_cache_update(None, fresh, fresh, cache, torch.tensor([20, -1]))
    assert cache[1, :, 4].eq(1).all()
    assert cache[2:].eq(0).all()


@pytest.mark.parametrize("layout", ["HND", "NHD"])
@pytest.mark.parametrize(("own", "agreed"), [(128, 16), (64, 32), (32, 32), (128, 128)])
def test_a_peer_reads_converted_blocks_in_the_agreed_geometry(layout: str, own: int, agreed: int) -> None:
    torch.manual_seed(2)
    cache, ids, tokens = empty_cache(layout, own, 12), [7, 2, 9], 2 * own + own // 2
    cache.copy_(torch.randn(cache.shape))
    before = cache.clone()
    keys, values = (x[0, :, :tokens].clone() for x in gather(cache, torch.tensor([ids]), SIZE))
    convert_to_hnd(cache, torch.tensor(ids), agreed)
    wire = in_memory_order(cache).view(-1, KV_HEADS, agreed, 2 * SIZE)
    shown = torch.tensor([expand_block_ids(ids, own // agreed, tokens, agreed)])
    read_keys, read_values = gather(wire, shown, SIZE)
    assert torch.equal(read_keys[0, :, :tokens], keys)
    assert torch.equal(read_values[0, :, :tokens], values)
    others = [block for block in range(12) if block not in ids]
    assert torch.equal(cache[others], before[others])


def received(layout: str, *caches: Any) -> StandinDecodeConnector:
    """A decode that has registered ``caches``, over a stock worker that does nothing else."""
    worker = NixlPullConnectorWorker.__new__(NixlPullConnectorWorker)
    worker.device_kv_caches = {str(layer): cache for layer, cache in enumerate(caches)}
    worker.kv_cache_config = SimpleNamespace(transfer_groups=[])
    worker.transfer_topo, worker.enable_permute_local_kv = object(), layout == "NHD"
    worker.register_kv_caches = lambda _caches: None
    made = StandinDecodeConnector.__new__(StandinDecodeConnector)
    made.connector_worker = worker
    made.register_kv_caches(worker.device_kv_caches)
    return made


@pytest.mark.parametrize(("layout", "agreed"), [("NHD", 16), ("NHD", 128), ("HND", 16), ("HND", 64)])
def test_vllm_undoes_the_conversion(layout: str, agreed: int) -> None:
    torch.manual_seed(3)
    caches = [empty_cache(layout, 128, 6).copy_(torch.randn(6, KV_HEADS, 128, 2 * SIZE)) for _ in range(2)]
    before = [cache.clone() for cache in caches]
    for cache in caches:
        convert_to_hnd(cache, torch.tensor([4, 1]), agreed)
    assert not torch.equal(caches[1], before[1])
    decode = received(layout, *caches)
    decode.connector_worker.post_process_device_kv_on_receive(128 // agreed, [([4, 1], 2 * 128 // agreed)])
    assert all(map(torch.equal, caches, before))


@pytest.mark.parametrize("layout", ["NHD", "HND"])
def test_what_no_transfer_wrote_is_zeroed_and_nothing_else(layout: str) -> None:
    """Five wire blocks of 16 tokens fill 80 of the first block's 128 tokens; the second got none."""
    cache = empty_cache(layout, 128, 6).copy_(torch.randn(6, KV_HEADS, 128, 2 * SIZE))
    before = cache.clone()
    convert_to_hnd(cache, torch.tensor([4, 1]), 16)
    received(layout, cache).connector_worker.post_process_device_kv_on_receive(8, [([4, 1], 5)])
    assert torch.equal(cache[4, :, :80], before[4, :, :80])
    assert cache[4, :, 80:].eq(0).all()
    assert cache[1].eq(0).all()
    assert torch.equal(cache[[0, 2, 3, 5]], before[[0, 2, 3, 5]])


def test_a_cache_in_another_order_is_refused() -> None:
    with pytest.raises(ValueError, match="neither HND nor NHD"):
        in_memory_order(torch.zeros(4, KV_HEADS, 16, 2 * SIZE).transpose(0, 1))


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"sliding_window": 4096}, "sliding-window"),
        ({"alibi_slopes": [0.5]}, "ALiBi"),
        ({"logits_soft_cap": 30.0}, "soft cap"),
        ({"kv_cache_dtype": "fp8"}, "quantized KV cache"),
        ({"attn_type": "encoder"}, "attention type encoder"),
        ({"sinks": torch.zeros(HEADS)}, "sinks"),
    ],
)
def test_what_it_cannot_do_it_refuses_at_start(option: dict[str, Any], named: str) -> None:
    with pytest.raises(Unsupported, match=named) as refused:
        StandinImpl(HEADS, SIZE, SIZE**-0.5, KV_HEADS, **option)
    assert "\n" not in str(refused.value)
