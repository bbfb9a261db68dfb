"""Several engines of a role: where they run, what each gets of its host, and a thousand of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from heteropd import export
from heteropd.config.env import load
from heteropd.config.machine import Machine
from heteropd.errors import BadInput
from heteropd.plan.model import Plan, RolePlan
from plan_words import make

ROOT = Path(__file__).parents[3]
ENV = load(ROOT)
EXAMPLE = "hosts=env/hosts/example-2p2d.yaml"

Written = Callable[..., str]


def plan(*words: str, cores: int = 2) -> Plan:
    return make(words, ROOT, Machine(cores=list(range(cores))))


def after(role: RolePlan, option: str) -> list[str]:
    """Every word that follows an option."""
    return [value for word, value in zip(role.argv, role.argv[1:], strict=False) if word == option]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a hosts file of two CUDA hosts and a Gaudi host; returns the word that names it."""

    def write(platforms: dict[str, Any], hosts: dict[str, Any] | None = None, **more: Any) -> str:
        known = {
            f"{name}": {"address": f"192.0.2.{at}", "ssh": name}
            for at, name in enumerate(("c1", "c2", "g1"), 1)
        }
        for name, fields in (hosts or {}).items():
            known[name].update(fields)
        file = tmp_path / "hosts.yaml"
        file.write_text(yaml.safe_dump({"hosts": known, "platforms": platforms, **more}))
        return f"hosts={file}"

    return write


def test_engines_are_named_in_the_order_of_the_hosts_file(written: Written) -> None:
    made = plan("case1", written({"cuda": ["c2", "c1"], "gaudi": "g1"}))
    assert [(role.name, role.host.name) for role in made.roles] == [
        ("prefill-0", "c2"), ("prefill-1", "c1"), ("decode-0", "g1"), ("router", "local"),
    ]  # fmt: skip
    assert [role.ports.api for role in made.engines] == [8100, 8100, 8200]
    assert [role.ports.side_channel for role in made.engines] == [5600, 5600, 5600]
    other = plan("case2", written({"cuda": ["c1", "c2"], "gaudi": "g1"}))
    assert [role.platform for role in other.of("decode")] == ["cuda", "cuda"]


def test_a_host_that_stands_twice_has_two_engines(written: Written) -> None:
    hosts = {"c1": {"devices": [4, 5, 6, 7]}}
    word = written({"cuda": ["c1", "c2", "c1"], "gaudi": "g1"}, hosts, router="c1")
    made = plan("case1", word)
    assert [role.host.name for role in made.of("prefill")] == ["c1", "c2", "c1"]
    assert [role.ports.api for role in made.of("prefill")] == [8100, 8100, 8101]
    assert [role.ports.side_channel for role in made.of("prefill")] == [5600, 5600, 5601]
    assert [role.env.get("CUDA_VISIBLE_DEVICES") for role in made.of("prefill")] == ["4,5", None, "6,7"]
    assert [role.env.get("VLLM_NIXL_SIDE_CHANNEL_PORT") for role in made.of("prefill")] == [
        None,
        None,
        "5601",
    ]


def test_side_channels_count_on_over_roles_and_ranks_of_a_host(written: Written) -> None:
    roles = {name: {"tensor_parallel_size": 2} for name in ("prefill", "decode")}
    word = written({"cuda": ["c1", "c1"], "gaudi": "c1"}, {"c1": {"devices": [0, 1, 2, 3]}}, roles=roles)
    made = plan("case1", word)
    assert [role.ports.side_channel for role in made.engines] == [5600, 5602, 5604]
    assert made.engines[1].ports.all() == {"api": 8101, "side_channel": 5602, "side_channel_1": 5603}
    assert all(after(role, "--tensor-parallel-size") == ["2"] for role in made.engines)
    own = {**roles, "prefill": {**roles["prefill"], "side_channel_port": 7000}}
    word = written({"cuda": ["c1", "c1"], "gaudi": "c1"}, {"c1": {"devices": [0, 1, 2, 3]}}, roles=own)
    assert [role.ports.side_channel for role in plan("case1", word).engines] == [7000, 7002, 5604]


def test_one_rank_is_not_said() -> None:
    assert not any(after(role, "--tensor-parallel-size") for role in plan("case1", EXAMPLE).engines)


def test_fields_of_a_host_reach_its_engines_alone(written: Written) -> None:
    fields = {
        "management": "198.51.100.2",
        "devices": [1],
        "nics": ["mlx5_0:1", "mlx5_1:1"],
        "image": "registry.example:5000/engines/cuda:mine",
        "model": "/models/here",
    }
    made = plan("case1", written({"cuda": ["c1", "c2"], "gaudi": "g1"}, {"c2": fields}), "model=org/name")
    plain, special = made.of("prefill")
    assert (special.url, special.peer_url) == ("http://198.51.100.2:8100", "http://192.0.2.2:8100")
    assert special.env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "192.0.2.2"
    assert special.env["CUDA_VISIBLE_DEVICES"] == "1"
    assert special.env["UCX_NET_DEVICES"] == "mlx5_0:1,mlx5_1:1"
    assert special.container is not None
    assert special.container.image == "registry.example:5000/engines/cuda:mine"
    assert special.argv[:3] == ["vllm", "serve", "/models/here"]
    assert after(special, "--served-model-name") == ["org/name"], "requests go on naming it as asked"
    here = ["http://192.0.2.1:8100", "http://198.51.100.2:8100"]
    assert after(made.router, "--prefill") == here, "a router on this machine goes where this machine does"
    assert plain.container is not None
    assert plain.container.image == "heteropd/cuda:doc-2025-12-decode-post-process"
    assert plain.argv[:3] == ["vllm", "serve", "org/name"]
    assert not {"CUDA_VISIBLE_DEVICES", "UCX_NET_DEVICES"} & set(plain.env)
    assert not after(plain, "--served-model-name")
    assert made.model == "org/name"


def test_gaudis_devices_replace_the_word_all(written: Written) -> None:
    word = written({"cuda": "c1", "gaudi": ["g1", "g1"]}, {"g1": {"devices": [0, 3]}})
    decodes = plan("case1", word).of("decode")
    for decode, device in zip(decodes, ["0", "3"], strict=True):
        assert decode.container is not None
        assert decode.container.device_args == ["--runtime=habana", f"--env=HABANA_VISIBLE_DEVICES={device}"]
        assert decode.env["HABANA_VISIBLE_DEVICES"] == device


def test_stand_ins_take_neither_devices_nor_nics(written: Written) -> None:
    fields = {"devices": [0, 1, 2], "nics": ["mlx5_0:1"]}
    word = written({"cuda": ["c1", "c1"], "gaudi": "g1"}, {"c1": fields}, standin=True)
    for engine in plan("case1", word, "runtime=docker").engines:
        assert not {"CUDA_VISIBLE_DEVICES", "UCX_NET_DEVICES"} & set(engine.env)


def test_an_image_needs_containers(written: Written) -> None:
    word = written({"cuda": "c1", "gaudi": "g1"}, {"c1": {"image": "mine:1", "python": "/opt/python"}})
    with pytest.raises(BadInput, match=r"hosts\.c1\.image is for containers"):
        plan("case1", word, "runtime=process")


def test_both_routers_know_every_engine() -> None:
    vllm, toy = (plan("case1", EXAMPLE, f"router={kind}") for kind in ("vllm", "toy"))
    assert after(vllm.router, "--prefill") == [role.peer_url for role in vllm.of("prefill")]
    assert after(vllm.router, "--decode") == [role.peer_url for role in vllm.of("decode")]
    argv = toy.router.argv
    start, end = argv.index("--prefiller-hosts"), argv.index("--decoder-hosts")
    hosts, ports = (
        [role.host.address for role in toy.of("prefill")],
        [str(r.ports.api) for r in toy.of("prefill")],
    )
    assert argv[start:end] == ["--prefiller-hosts", *hosts, "--prefiller-ports", *ports]


@pytest.mark.parametrize(
    ("cores", "parts"),
    [(1, ["0", "0", "0"]), (2, ["0", "1", "0"]), (3, ["0", "1", "2"]), (8, ["0,1", "2,3,4", "5,6,7"])],
)
def test_engines_of_this_machine_share_its_cores(cores: int, parts: list[str]) -> None:
    made = plan("case2", "prefills=1", "decodes=2", cores=cores)
    assert [role.name for role in made.roles] == ["prefill-0", "decode-0", "decode-1", "router"]
    assert [",".join(map(str, role.cores)) for role in made.engines] == parts
    assert [role.ports.api for role in made.engines] == [8100, 8200, 8201]
    assert [role.ports.side_channel for role in made.engines] == [5600, 5601, 5602]
    assert any("expect it to be slow" in note.text for note in made.notes) == (cores < 3)
    assert made.parameters["decodes"] == 2


@pytest.mark.parametrize("word", ["prefills=2", "decodes=2"])
def test_the_hosts_file_says_how_many(word: str) -> None:
    with pytest.raises(BadInput, match="'platforms'") as refused:
        plan("case1", EXAMPLE, word)
    assert refused.value.field == word.partition("=")[0]


@pytest.mark.parametrize("form", export.FORMATS)
def test_forms_name_every_role(form: str) -> None:
    made = plan("case1", EXAMPLE)
    text = export.render(made, form, ENV)
    assert [role.name for role in made.roles if role.name not in text] == []
    assert len(made.engines) == 4


def test_a_small_fault_in_one_of_many_engines_is_refused(written: Written) -> None:
    """Rules look at all engines: here the second prefill has no device of its own."""
    word = written({"cuda": ["c1", "c2", "c2"], "gaudi": "g1"}, {"c1": {"devices": [0]}})
    with pytest.raises(BadInput, match="P50-devices") as refused:
        plan("case1", word)
    assert refused.value.field == "hosts.c2.devices"


def test_a_thousand_hosts(tmp_path: Path) -> None:
    """500 prefills and 500 decodes. What this costs is in docs/measurements.md; here, that it is right."""
    many = 500
    names = {kind: [f"{kind}-{index}" for index in range(many)] for kind in ("cuda", "gaudi")}
    hosts = {
        name: {"address": f"10.{net}.{index // 200}.{index % 200 + 1}", "ssh": name, "devices": [0]}
        for net, kind in enumerate(names)
        for index, name in enumerate(names[kind])
    }
    file = tmp_path / "hosts.yaml"
    file.write_text(json.dumps({"hosts": hosts, "platforms": names}))
    made = plan("case1", f"hosts={file}")
    assert [len(made.of("prefill")), len(made.of("decode")), len(made.roles)] == [many, many, 2 * many + 1]
    assert len({role.name for role in made.roles}) == 2 * many + 1
    assert [role.host.name for role in made.of("decode")] == names["gaudi"]
    assert len(after(made.router, "--prefill")) == len(after(made.router, "--decode")) == many
    assert {role.ports.side_channel for role in made.engines} == {5600}
    for form in export.FORMATS:
        assert export.render(made, form, load(ROOT)).count("decode-499") >= 1
    file.write_text(json.dumps({"hosts": {**hosts, "gaudi-7": hosts["gaudi-8"]}, "platforms": names}))
    with pytest.raises(BadInput, match=r"P18-port-clash.*decode-7 and .*decode-8"):
        plan("case1", f"hosts={file}")
