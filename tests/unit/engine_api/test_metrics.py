"""Reading counters."""

import pytest

from heteropd.engine_api.metrics import COUNTERS, Counts, cache_config, samples, total

PAGE = """\
# HELP vllm:nixl_bytes_transferred Histogram of bytes transferred per NIXL KV Cache transfers.
# TYPE vllm:nixl_bytes_transferred histogram
vllm:nixl_bytes_transferred_bucket{engine="0",le="2048.0",model_name="m"} 0.0
vllm:nixl_bytes_transferred_count{engine="0",model_name="m"} 2.0
vllm:nixl_bytes_transferred_sum{engine="0",model_name="m"} 1.1796480e+07
vllm:prompt_tokens_by_source_total{engine="0",model_name="a \\"b\\" {c}",source="local_compute"} 200.0
vllm:prompt_tokens_by_source_total{engine="1",model_name="m",source="local_compute"} 7.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="external_kv_transfer"} 5.0
vllm:prompt_tokens_total{engine="0"} 205.0 1395066363000
vllm:request_success_total{finished_reason="length"} 3.0
vllm:request_success_total{finished_reason="stop"} 1.0
vllm:external_prefix_cache_hits 12
vllm:kv_cache_usage_perc NaN
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1820"} 1.0
"""


@pytest.mark.parametrize(("key", "value"), [
    ("bytes", 11_796_480),  # a histogram's sum
    ("computed", 207),  # over engines, one source only
    ("prompt_tokens", 205),  # with a time stamp
    ("requests", 4),  # over reasons
    ("external_hits", 12),  # without a suffix
    ("descriptors", None),
])  # fmt: skip
def test_a_page_is_read(key, value):
    assert Counts.read(PAGE)[key] == value


def test_labels_with_quotes_and_braces_survive():
    assert 'a "b" {c}' in {sample.labels.get("model_name") for sample in samples(PAGE)}


def test_an_engine_tells_its_cache():
    assert cache_config(samples(PAGE))["block_size"] == "16"
    assert cache_config([]) == {}


def test_what_is_not_a_page_of_metrics_knows_nothing():
    assert Counts.read(PAGE + "nonsense line here {\n") == dict.fromkeys(COUNTERS)


def test_an_empty_page_knows_nothing():
    assert Counts.read("") == dict.fromkeys(COUNTERS)
    assert total([], "x", {}) is None


def test_movement_is_a_difference_and_a_new_series_began_at_nothing():
    moved = Counts(bytes=30, requests=4, computed=None).since(Counts(bytes=10, requests=None, computed=3))
    assert moved == {"bytes": 20, "requests": 4, "computed": None}


def test_a_role_of_two_engines_is_summed_and_unknown_if_one_is():
    one, other = (
        Counts.read("vllm:prompt_tokens_total 3\nvllm:request_success_total 1"),
        Counts.read("vllm:prompt_tokens_total 4"),
    )
    both = Counts.sum([one, other])
    assert (both["prompt_tokens"], both["requests"]) == (7, None)
