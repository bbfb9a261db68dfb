"""The stand-in's numbers, against float64 and against vLLM's own conversion.

Needs torch, vLLM and pytest in one environment: the engine's, plus pytest. Skipped elsewhere.
"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("vllm")

from vllm.distributed.kv_transfer.kv_connector.utils import (  # noqa: E402
    kv_postprocess_blksize_and_layout_on_receive,
    kv_postprocess_blksize_on_receive,
)

from heteropd_engine.standin.backend import StandinImpl, Unsupported  # noqa: E402
from heteropd_engine.standin.batch import plan_batch  # noqa: E402
from heteropd_engine.standin.blocks import convert_to_hnd, gather, in_memory_order  # noqa: E402
from heteropd_engine.standin.geometry import expand_block_ids  # noqa: E402

HEADS, KV_HEADS, SIZE = 9, 3, 64
REQUESTS = [(1, 37), (50, 50), (1, 16), (20, 90), (1, 200), (3, 3), (1, 1), (33, 160), (1, 129)]
"""(new tokens, context): decodes, whole prompts, later chunks and prefix hits, mixed in one step."""
TOLERANCE = {torch.float32: 5e-6, torch.bfloat16: 2e-2}


def empty_cache(layout: str, block_size: int, blocks: int = 240, dtype: torch.dtype = torch.float32):
    if layout == "HND":
        return torch.zeros(blocks, KV_HEADS, block_size, 2 * SIZE, dtype=dtype)
    return torch.zeros(blocks, block_size, KV_HEADS, 2 * SIZE, dtype=dtype).transpose(1, 2)


def slots_of(ids: list[int], block_size: int, tokens: int) -> torch.Tensor:
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
def test_a_mixed_step_attends_as_float64_does(layout: str, block_size: int, dtype: torch.dtype) -> None:
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


def test_vllm_undoes_the_conversion() -> None:
    torch.manual_seed(3)
    for layout, undo in (
        ("NHD", kv_postprocess_blksize_and_layout_on_receive),
        ("HND", kv_postprocess_blksize_on_receive),
    ):
        cache = empty_cache(layout, 128, 6)
        cache.copy_(torch.randn(cache.shape))
        before, blocks = cache.clone(), torch.tensor([4, 1])
        convert_to_hnd(cache, blocks, 16)
        assert not torch.equal(cache, before)
        undo(cache, blocks, 8)
        assert torch.equal(cache, before)


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
def test_what_it_cannot_do_it_refuses_at_start(option: dict[str, object], named: str) -> None:
    with pytest.raises(Unsupported, match=named) as refused:
        StandinImpl(HEADS, SIZE, SIZE**-0.5, KV_HEADS, **option)
    assert "\n" not in str(refused.value)
