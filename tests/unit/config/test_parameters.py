"""What the user says, and which saying wins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from heteropd.config.env import load
from heteropd.config.machine import Machine, probe
from heteropd.config.parameters import Parameters
from heteropd.config.request import PRECEDENCE, PlanRequest
from heteropd.errors import BadInput
from heteropd.plan.model import Plan
from plan_words import make, resolve

ROOT = Path(__file__).parents[3]
EXAMPLE = "hosts=env/hosts/example.yaml"
DOCUMENT_NAMES = tuple(Parameters.model_fields)[:8]


def request_for(*words: str) -> PlanRequest:
    return resolve(words, load(ROOT), ROOT)


def plan(*words: str, cores: list[int] | None = None) -> Plan:
    return make(words, ROOT, Machine(cores=cores or [0, 1]))


def test_the_documents_names_are_kept_in_its_order() -> None:
    prefill = ["prefill_kv_layout", "prefill_block_size", "prefill_port"]
    decode = ["decode_kv_layout", "decode_block_size", "decode_port"]
    assert list(DOCUMENT_NAMES) == [*prefill, *decode, "port", "model"]


def test_precedence_is_command_line_params_hosts_case_defaults(tmp_path: Path) -> None:
    """One parameter a layer is taken away from the top: each time the next layer's value appears."""
    hosts_data = yaml.safe_load((ROOT / "env/hosts/example.yaml").read_text())
    hosts = tmp_path / "hosts.yaml"
    params = tmp_path / "params.yaml"

    def value(*layers: str) -> tuple[int, str]:
        hosts_data["parameters"] = {"prefill_block_size": 48} if "hosts" in layers else {}
        hosts.write_text(yaml.safe_dump(hosts_data))
        params.write_text(f"{'prefill_block_size: 32' if 'params' in layers else 'port: 8000'}\n")
        words = ["case1", f"hosts={hosts}", f"params={params}"]
        words += ["prefill_block_size=64"] if "command line" in layers else []
        request = request_for(*words)
        return request.parameters.prefill_block_size, request.layers["prefill_block_size"]

    assert value("command line", "params", "hosts") == (64, "command line")
    assert value("params", "hosts") == (32, "params")
    assert value("hosts") == (48, "hosts")
    assert value() == (16, "case")
    assert request_for("case1", EXAMPLE).layers["prefill_port"] == "defaults"
    assert set(PRECEDENCE) == {"defaults", "case", "hosts", "params", "command line"}


def test_every_parameter_can_be_given_on_the_command_line_and_in_a_file(tmp_path: Path) -> None:
    given = {
        "prefill_kv_layout": "HND",
        "prefill_block_size": 32,
        "prefill_port": 18100,
        "decode_kv_layout": "NHD",
        "decode_block_size": 64,
        "decode_port": 18200,
        "port": 18000,
        "model": "org/name",
        "side_channel_port": 15600,
        "metrics_port": 19000,
        "pins": "doc-2025-12",
        "variant": "decode-post-process",
        "runtime": "docker",
        "router": "toy",
        "security": "least",
    }
    others = {"port_offset": 7, "served_model_name": "llm", "revision": "main", "ready_timeout": 1200}
    mixed = ["standin", "engine_python"]  # for this machine
    digest = ["digest", "digest_sample"]  # with stand-ins only
    assert [*given, "prefills", "decodes", *others, *digest, *mixed] == list(Parameters.model_fields)
    given |= others
    words = [f"{name}={value}" for name, value in given.items()]
    assert request_for("case1", EXAMPLE, *words).parameters.model_dump() == given
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump(given))
    assert request_for("case1", EXAMPLE, f"params={file}").parameters.model_dump() == given
    assert plan("case1", EXAMPLE, *words).parameters == given


def test_the_digest_changes_connectors_alone(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("digest: enforce\ndigest_sample: 0.5\n")
    for case in ("case1", "case2"):
        off, on = plan(case), plan(case, f"params={file}")
        assert on.parameters == off.parameters | {"digest": "enforce", "digest_sample": 0.5}
        assert plan(case, "digest=enforce", "digest_sample=0.50") == on
        for before, after in zip(off.engines, on.engines, strict=True):
            assert (before.argv[:-1], before.env) == (after.argv[:-1], after.env)
            old, new = json.loads(before.argv[-1]), json.loads(after.argv[-1])
            assert "digest" not in before.argv[-1]
            assert new["kv_connector"] == f"Digest{old['kv_connector'].removeprefix('Nixl')}"
            assert new["kv_connector_extra_config"] == old["kv_connector_extra_config"] | {
                "digest": "enforce",
                "digest_sample": 0.5,
            }
    file.write_text("digest: off\n")
    assert plan("case1", f"params={file}") == plan("case1")


def test_the_digest_is_left_out_of_engines_that_cannot_have_it() -> None:
    off, left_out = plan("case1", EXAMPLE), plan("case1", EXAMPLE, "digest=enforce")
    assert left_out.model_copy(update={"notes": off.notes}) == off
    [note] = [note.text for note in left_out.notes if note not in off.notes]
    assert "digest: enforce: is left out" in note
    assert "gaudi engines of" in note


@pytest.mark.parametrize("word", ["digest=on", "digest_sample=0", "digest_sample=1.5", "digest_sample=half"])
def test_a_digest_that_is_none(word: str) -> None:
    with pytest.raises(BadInput, match=f"command line: {word.partition('=')[0]}: "):
        plan("case1", word)


def test_parameters_reach_argv_and_environment() -> None:
    words = ["prefill_port=18100", "decode_port=18200", "port=18000", "prefill_block_size=32"]
    rendered = plan("case1", *words, "decode_block_size=64", "model=org/name")
    prefill, decode = rendered.engines
    assert prefill.argv[prefill.argv.index("--port") + 1] == "18100"
    assert prefill.argv[prefill.argv.index("--block-size") + 1] == "32"
    assert decode.argv[decode.argv.index("--model") + 1] == "org/name"
    assert "HF_HUB_OFFLINE" not in decode.env, "a hub id must be downloadable"
    assert rendered.router.argv[rendered.router.argv.index("--decode") + 1] == "http://127.0.0.1:18200"
    assert rendered.router.url == "http://127.0.0.1:18000"
    assert rendered.model == rendered.model_source == "org/name"


def test_a_model_folder_is_made_absolute_and_read_offline(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    rendered = plan("case1", f"model={tmp_path}/../{tmp_path.name}")
    assert rendered.model_source == str(tmp_path)
    assert rendered.engines[0].env["HF_HUB_OFFLINE"] == "1"
    remote = plan("case1", EXAMPLE, "model=/models/not-here")
    assert "/models/not-here" in remote.engines[0].argv


def test_a_hub_id_is_never_taken_for_a_folder_that_cannot_be() -> None:
    assert plan("case1", "model=" + "x" * 300).model == "x" * 300
    assert plan("case1", EXAMPLE, "model=docs").model == "docs", "a folder here is none on the hosts"


@pytest.mark.parametrize(
    ("prefill", "decode", "agreed"), [(128, 16, 16), (128, 64, 64), (96, 64, 32), (16, 16, 16), (16, 128, 16)]
)
def test_agreed_block_size_is_the_greatest_common_divisor(prefill: int, decode: int, agreed: int) -> None:
    rendered = plan("case2", f"prefill_block_size={prefill}", f"decode_block_size={decode}")
    assert rendered.agreed_block_size == agreed
    kv = rendered.engines[0].kv
    assert kv is not None
    assert (kv.wire_layout, kv.wire_block_size) == ("HND", agreed)
    for engine in rendered.engines:
        assert f'"agreed_block_size": {agreed}' in engine.argv[-1]


def test_case1_agrees_on_nothing() -> None:
    rendered = plan("case1")
    assert rendered.agreed_block_size is None
    decode = rendered.engines[1].kv
    assert decode is not None
    assert decode.permute_on_receive
    equal = plan("case1", "decode_kv_layout=HND").engines[1].kv
    assert equal is not None
    assert not equal.permute_on_receive


@pytest.mark.parametrize(
    ("cores", "prefill", "decode"),
    [
        ([0], [0], [0]),
        ([0, 1], [0], [1]),
        ([0, 4, 1, 5], [0, 4], [1, 5]),
        ([2, 3, 4], [2], [3, 4]),
    ],
)
def test_cores_are_divided_between_the_engines(
    cores: list[int], prefill: list[int], decode: list[int]
) -> None:
    rendered = plan("case1", cores=cores)
    assert [engine.cores for engine in rendered.engines] == [prefill, decode]
    binds = [engine.env["VLLM_CPU_OMP_THREADS_BIND"] for engine in rendered.engines]
    assert binds == [",".join(map(str, prefill)), ",".join(map(str, decode))]
    assert any("one core" in note.text for note in rendered.notes) == (len(cores) == 1)


def test_standins_cannot_be_taken_for_hardware() -> None:
    rendered = plan("case2")
    assert rendered.standin
    assert [(role.platform, role.runs_on) for role in rendered.engines] == [("gaudi", "cpu"), ("cuda", "cpu")]
    assert "stand-ins" in rendered.notes[0].text
    real = plan("case2", EXAMPLE)
    assert not real.standin
    assert not any("stand-in" in note.text for note in real.notes)


def test_variant_auto_takes_the_first_that_can() -> None:
    chosen = {
        words: plan(*words.split(), EXAMPLE).variant
        for words in ("case1", "case2", "case1 decode_block_size=16", "case1 decode_kv_layout=HND")
    }
    assert list(chosen.values()) == ["decode-post-process", "prefill-process", "base", "base"]


def test_two_engines_on_one_host_get_side_channels_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yaml"
    hosts = {"hosts": {"one": {"address": "192.0.2.1"}}, "platforms": {"cuda": "one", "gaudi": "one"}}
    file.write_text(yaml.safe_dump(hosts))
    prefill, decode = plan("case1", f"hosts={file}").engines
    assert (prefill.ports.side_channel, decode.ports.side_channel) == (5600, 5601)
    assert "VLLM_NIXL_SIDE_CHANNEL_PORT" not in prefill.env, "5600 is vLLM's own default"
    assert decode.env["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "5601"


def test_additions_of_a_hosts_file_reach_their_role_only(tmp_path: Path) -> None:
    data = yaml.safe_load((ROOT / "env/hosts/example.yaml").read_text())
    data["roles"] = {"prefill": {"env": {"UCX_NET_DEVICES": "mlx5_0:1"}, "args": ["--max-model-len", "8192"]}}
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump(data))
    prefill, decode = plan("case1", f"hosts={file}").engines
    assert prefill.env["UCX_NET_DEVICES"] == "mlx5_0:1"
    assert prefill.argv[-2:] == ["--max-model-len", "8192"]
    assert "UCX_NET_DEVICES" not in decode.env
    assert "8192" not in decode.argv


def test_standins_may_run_on_given_hosts(tmp_path: Path) -> None:
    data = yaml.safe_load((ROOT / "env/hosts/example.yaml").read_text())
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump({**data, "standin": True}))
    rendered = plan("case1", f"hosts={file}")
    assert (rendered.standin, rendered.runtime) == (True, "docker")
    assert rendered.engines[0].env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "192.0.2.10"
    assert rendered.engines[0].argv[rendered.engines[0].argv.index("--host") + 1] == "0.0.0.0"
    assert rendered.pins == "standin"
    for host in data["hosts"].values():
        host["standin"] = True  # each of them, which is the same
    file.write_text(yaml.safe_dump(data))
    for words in ((), ("standin=none",)):
        each = plan("case1", f"hosts={file}", *words)
        assert (each.roles, each.pins, each.model) == (rendered.roles, rendered.pins, rendered.model)
    for host in data["hosts"].values():
        host["python"] = "/opt/python"
    file.write_text(yaml.safe_dump(data))
    assert plan("case1", f"hosts={file}").runtime == "process"


def test_an_ipv6_address_makes_a_usable_url(tmp_path: Path) -> None:
    hosts = {"hosts": {"one": {"address": "2001:db8::1"}}, "platforms": {"cuda": "one", "gaudi": "one"}}
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump(hosts))
    assert plan("case1", f"hosts={file}").engines[0].url == "http://[2001:db8::1]:8100"


def test_equal_requests_make_equal_plans_and_others_do_not() -> None:
    assert plan("case1").fingerprint() == plan("case1", "port=8000").fingerprint()
    assert plan("case1").fingerprint() != plan("case1", "port=8001").fingerprint()


def test_refusals_carry_the_place_of_a_file_inside_the_repository() -> None:
    with pytest.raises(BadInput) as refused:
        plan("case1", "params=env/cases/case1.yaml")
    assert refused.value.where == "env/cases/case1.yaml"


def test_machine_puts_the_threads_of_a_core_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cpu, siblings in {0: "0,2", 2: "0,2", 1: "1,3", 3: "1-3"}.items():
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert probe(tmp_path).cores == [0, 2, 1, 3]
    assert probe(tmp_path / "nothing").cores == [0, 1, 2, 3]


def test_documentation_lists_every_parameter() -> None:
    text = (ROOT / "docs" / "parameters.md").read_text()
    for name in [*Parameters.model_fields, "hosts", "params"]:
        assert f"| `{name}` |" in text
    for name in DOCUMENT_NAMES[:-1]:
        assert f"| `{name}` | {Parameters.model_fields[name].description}" in text


PORTS = {
    "port": 8000,
    "prefill_port": 8100,
    "decode_port": 8200,
    "side_channel_port": 5600,
    "metrics_port": 29000,
}


def ports_of(request: PlanRequest) -> dict[str, int]:
    return {name: getattr(request.parameters, name) for name in PORTS}


def test_one_word_moves_every_port_that_nobody_has_said(tmp_path: Path) -> None:
    assert ports_of(request_for("case1")) == PORTS
    moved = {name: port + 100 for name, port in PORTS.items()}
    assert ports_of(request_for("case1", "port_offset=100")) == moved
    assert ports_of(request_for("case1", EXAMPLE, "port_offset=100")) == moved
    said = request_for("case1", "port_offset=100", "port=9000")
    assert ports_of(said) == {**moved, "port": 9000}
    assert (said.layers["port"], said.layers["prefill_port"]) == ("command line", "command line")
    file = tmp_path / "params.yaml"
    file.write_text("port_offset: 10\nprefill_port: 7000\n")
    kept = request_for("case1", f"params={file}")
    assert ports_of(kept) == {**{name: port + 10 for name, port in PORTS.items()}, "prefill_port": 7000}
    assert kept.origins["decode_port"] == str(file)
    roles = {role.name: role.ports for role in plan("case1", "port_offset=100").roles}
    assert (roles["decode-0"].api, roles["decode-0"].side_channel, roles["router"].api) == (8300, 5701, 8100)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("prefills=1000", "command line: prefills: 1000: P18-port-clash: makes 8200 the api port of "),
        ("prefills=99 decode_port=8150", "command line: decode_port: 8150: P18-port-clash: makes "),
        ("images=README.md", "command line: images: 'README.md': is for containers, and runtime is "),
        (
            "digest_sample=0.5",
            "command line: digest_sample: 0.5: changes nothing, as nothing is digested; ",
        ),
        (
            "model=a/b pins=standin revision=x port=x",
            "command line: port: 'x': must be a whole number; ",
        ),
    ],
)
def test_a_refusal_names_the_option_that_was_given(words: str, line: str) -> None:
    with pytest.raises(BadInput) as refused:
        plan("case1", *words.split())
    assert str(refused.value).startswith(line)


def test_a_part_without_digests_is_kept_where_digests_are_turned_off(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("digest: enforce\ndigest_sample: 0.5\n")
    assert request_for("case1", f"params={file}", "digest=off").parameters.digest_sample == 0.5


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("port_offset=40000", "makes metrics_port 69000; 65535 is the last port"),
        ("port_offset=-1", "must be at least 0"),
        ("port_offset=x", "must be a whole number"),
    ],
)
def test_an_offset_that_leads_nowhere_is_refused(word: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        request_for("case1", word)
