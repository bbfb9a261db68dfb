"""The settings file: what is wrong in it is told in one line."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from heteropd.errors import BadInput
from heteropd.proof import load
from heteropd.proof.geometry import bytes_per_token, dtype_of, find_config, kv_dtype, layers_of

ROOT = Path(__file__).parents[3]
SMOLLM2 = {"num_hidden_layers": 30, "num_key_value_heads": 3, "num_attention_heads": 9, "hidden_size": 576}


def test_the_request_is_the_source_documents_to_the_letter():
    asked = load(ROOT).request
    digest = hashlib.sha256(asked.prompt.encode()).hexdigest()
    assert digest == "f98e05e4475af61bbc965fb59ef52ed03f924b09a4bead8f28c7c8f9c6e2fd90"
    assert json.dumps({"max_tokens": asked.max_tokens, "temperature": asked.temperature}) == (
        '{"max_tokens": 100, "temperature": 0}'
    )


def written(folder, change):
    data = yaml.safe_load((ROOT / "env/validation.yaml").read_text())
    change(data)
    (folder / "env").mkdir()
    (folder / "env/validation.yaml").write_text(yaml.safe_dump(data))
    return folder


@pytest.mark.parametrize(("change", "field"), [
    (lambda data: data["probes"].update(least=23), "probes.least"),
    (lambda data: data["probes"].update(top_logprobs="many"), "probes.top_logprobs"),
    (lambda data: data["noise"].update(times_largest=0.5), "noise.times_largest"),
    (lambda data: data["limits"].pop("bfloat16"), "limits"),
    (lambda data: data["limits"]["float32"].update(least_position=0), "limits.float32.least_position"),
    (lambda data: data["limits"]["float32"].update(most_median=float("inf")), "limits.float32.most_median"),
    (lambda data: data["waits"].update(metrics_s=-1), "waits.metrics_s"),
    (lambda data: data.pop("words"), "words"),
    (lambda data: data.update(surprise=1), "surprise"),
])  # fmt: skip
def test_a_wrong_value_names_its_field(tmp_path, change, field):
    with pytest.raises(BadInput) as told:
        load(written(tmp_path, change))
    assert str(told.value).startswith(f"env/validation.yaml: {field}: ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\x00"])
def test_what_is_not_a_settings_file_is_refused(tmp_path, text):
    (tmp_path / "env").mkdir()
    (tmp_path / "env/validation.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"env/validation\.yaml"):
        load(tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        load(tmp_path)


@pytest.mark.parametrize(("config", "dtype", "expected"), [
    (SMOLLM2, "float32", 46_080),
    (SMOLLM2, "bfloat16", 23_040),
    ({**SMOLLM2, "head_dim": 128}, "bfloat16", 46_080),
    ({"text_config": SMOLLM2}, "float32", 46_080),
    ({"num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64}, "bfloat16", 61 * 576 * 2),
    ({"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}, "float16", 2 * 2 * 4 * 8 * 2),
    (SMOLLM2, "int4", None),
    ({}, "float32", None),
    ({"num_hidden_layers": "30"}, "float32", None),
])  # fmt: skip
def test_bytes_a_token(config, dtype, expected):
    assert bytes_per_token(config, dtype) == expected


def test_a_configuration_is_found_in_a_folder_or_the_hub_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--Qwen--Qwen3-0.6B" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    (cached / "config.json").write_text('{"num_hidden_layers": 28, "torch_dtype": "bfloat16"}')
    found = find_config("/nowhere", "Qwen/Qwen3-0.6B")
    assert (layers_of(found), dtype_of(found)) == (28, "bfloat16")
    assert find_config(str(cached)) == found
    assert find_config("Qwen/Qwen3-1.7B") is None


@pytest.mark.parametrize(("argv", "expected"), [
    (["--kv-cache-dtype", "fp8_e4m3"], "fp8"),
    (["--kv-cache-dtype=bfloat16"], "bfloat16"),
    (["--kv_cache_dtype=fp8"], "fp8"),
    (["--kv_cache_dtype_skip_layers", "1"], None),
    (["--kv-cache-dtype", "auto"], None),
    (["--dtype", "float32"], None),
    (["--kv-cache-dtype"], None),
])  # fmt: skip
def test_the_caches_own_dtype(argv, expected):
    assert kv_dtype(argv) == expected
