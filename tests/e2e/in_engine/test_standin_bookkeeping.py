"""Which blocks ``StandinConnector`` converts, and when, without starting an engine.

Needs torch, vLLM and pytest in one environment: the engine's, plus pytest. Skipped elsewhere.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm")

from vllm.distributed.kv_transfer.kv_connector.v1.nixl.metadata import NixlConnectorMetadata

from heteropd_engine.prompts import PromptTracker
from heteropd_engine.standin.connector import StandinConnector, _checked_agreed

OWN, AGREED = 128, 16


def connector() -> StandinConnector:
    """A scheduler-side connector over a stock scheduler that does nothing."""
    made = StandinConnector.__new__(StandinConnector)
    made._own_block_size, made._agreed, made._ratio, made._prompts = (
        OWN,
        AGREED,
        OWN // AGREED,
        PromptTracker(),
    )
    made.connector_scheduler = SimpleNamespace(
        on_new_request=lambda _request: None,
        update_state_after_alloc=lambda *_: None,
        build_connector_meta=lambda _output: NixlConnectorMetadata(),
        request_finished=lambda request, blocks: (True, stock_params(request, blocks)),
    )
    return made


def stock_params(request: Any, blocks: tuple[list[int], ...]) -> dict[str, Any] | None:
    if request.kv_transfer_params is None:
        return None
    return {"remote_block_ids": list(blocks), "remote_num_tokens": request.num_computed_tokens}


def request(tokens: int, max_tokens: int = 1, name: str = "r") -> Any:
    params = {"do_remote_decode": True}
    return SimpleNamespace(
        request_id=name,
        num_prompt_tokens=tokens,
        num_computed_tokens=0,
        max_tokens=max_tokens,
        kv_transfer_params=params,
    )


def step(
    one: Any, scheduled: int, blocks: list[int] | None, *, new: bool = False, resumed: bool = False
) -> Any:
    name, groups = one.request_id, None if blocks is None else (blocks,)
    return SimpleNamespace(
        scheduled_new_reqs=[SimpleNamespace(req_id=name, block_ids=groups)] if new else [],
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=[] if new else [name],
            new_block_ids=[] if new else [groups],
            resumed_req_ids={name} if resumed else set(),
        ),
        num_scheduled_tokens={name: scheduled},
    )


def converted(made: StandinConnector, one: Any, *args: Any, **kwargs: Any) -> list[int]:
    blocks = made.build_connector_meta(step(one, *args, **kwargs)).blocks_to_convert
    one.num_computed_tokens += args[0]
    return blocks


def test_a_prompt_in_one_chunk_is_converted_at_once() -> None:
    made, one = connector(), request(200)
    made.update_state_after_alloc(one, None, 0)
    assert converted(made, one, 200, [4, 9], new=True) == [4, 9]
    assert made.request_finished_all_groups(one, ([4, 9],)) == (
        True,
        {"remote_block_ids": [[*range(32, 40), *range(72, 77)]], "remote_num_tokens": 200},
    )


def test_chunks_wait_for_the_last_one() -> None:
    made, one = connector(), request(300)
    made.update_state_after_alloc(one, None, 0)
    assert converted(made, one, 128, [4], new=True) == []
    assert converted(made, one, 100, [9]) == []
    assert converted(made, one, 72, [2]) == [4, 9, 2]


def test_a_preempted_prompt_is_converted_where_it_lies_now() -> None:
    made, one = connector(), request(200)
    made.update_state_after_alloc(one, None, 0)
    assert converted(made, one, 128, [4], new=True) == []
    one.num_computed_tokens = 0
    assert converted(made, one, 200, [7, 8], resumed=True) == [7, 8]


def test_a_plain_request_is_never_converted() -> None:
    made, one = connector(), request(50)
    one.kv_transfer_params = None
    made.on_new_request(one)
    made.update_state_after_alloc(one, None, 0)
    assert converted(made, one, 50, [4], new=True) == []


def test_a_prefill_that_would_decode_on_is_not_handed_over() -> None:
    made, one = connector(), request(50, max_tokens=2)
    made.on_new_request(one)
    made.update_state_after_alloc(one, None, 0)
    assert converted(made, one, 50, [4], new=True) == []
    assert made.request_finished_all_groups(one, ([4],))[1] is None


def test_an_aborted_prompt_is_forgotten() -> None:
    made, one = connector(), request(300)
    made.update_state_after_alloc(one, None, 0)
    converted(made, one, 128, [4], new=True)
    made.request_finished_all_groups(one, ([4],))
    assert converted(made, one, 172, [9]) == []


def config(*, agreed: Any = 16, role: str = "kv_both", prefix_caching: bool = False) -> Any:
    transfer = SimpleNamespace(kv_role=role, get_from_extra_config=lambda _key, default: agreed or default)
    return SimpleNamespace(
        kv_transfer_config=transfer, cache_config=SimpleNamespace(enable_prefix_caching=prefix_caching)
    )


def test_set_ups_that_would_corrupt_are_refused() -> None:
    assert _checked_agreed(config()) == AGREED
    with pytest.raises(ValueError, match="--no-enable-prefix-caching"):
        _checked_agreed(config(prefix_caching=True))
    with pytest.raises(ValueError, match="agreed_block_size"):
        _checked_agreed(config(agreed=None))
    with pytest.raises(ValueError, match="a decode takes NixlConnector"):
        _checked_agreed(config(role="kv_consumer"))
