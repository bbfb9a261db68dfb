"""A plan's text forms say what the plan says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from heteropd import export
from heteropd.config.env import load
from heteropd.config.machine import Machine
from heteropd.errors import BadInput
from heteropd.export.bash import quote
from heteropd.plan.model import ContainerPlan, Plan
from heteropd.system import LocalRunner
from plan_words import make

ROOT = Path(__file__).parents[3]
EXAMPLE = "hosts=env/hosts/example.yaml"


def plan(*words: str) -> Plan:
    return make(words, ROOT, Machine(cores=[0, 1]))


@pytest.mark.parametrize("words", ["case1", "case2", f"case2 {EXAMPLE}"])
def test_json_reads_back_as_the_same_plan(words: str) -> None:
    rendered = plan(*words.split())
    again = Plan.model_validate_json(export.render(rendered, "json"))
    assert again == rendered
    assert again.fingerprint() == rendered.fingerprint()


def test_table_names_roles_stand_ins_and_geometry() -> None:
    text = export.render(plan("case2"))
    for part in ("prefill-0", "gaudi, by a cpu stand-in", "NHD/128", "HND/16, converted on save", "float32"):
        assert part in text
    assert "stand-in" not in export.render(plan("case2", EXAMPLE))
    assert "P40-unresolved-source" in export.render(plan("case2", EXAMPLE))


@pytest.mark.parametrize(
    "word", ["", "a b", "it's", 'say "x"', "$HOME", "`id`", "a\\b", "*", "${HOME", "a\nb"]
)
def test_quoted_words_reach_a_command_unchanged(word: str) -> None:
    for text, expected in ((word, word), (word + "${KIT_X}" + word, word + "in $x" + word)):
        done = LocalRunner().run(
            ["bash", "-c", f"printf '%s|' {quote(text)}"], env={"KIT_X": "in $x", "HOME": "/wrong"}
        )
        assert (done.code, done.out) == (0, f"{expected}|")


def service(words: str, name: str) -> dict[str, Any]:
    text = export.render(plan(*words.split()), "compose")
    found: dict[str, Any] = yaml.safe_load(text)["services"][name]
    return found


def test_compose_carries_the_container_arguments() -> None:
    gaudi = service(f"case1 {EXAMPLE}", "decode-0")
    assert (gaudi["privileged"], gaudi["network_mode"], gaudi["ipc"]) == (True, "host", "host")
    assert (gaudi["runtime"], gaudi["environment"]) == ("habana", ["HABANA_VISIBLE_DEVICES=all"])
    assert gaudi["profiles"] == ["gaudi-node"]
    cuda = service(f"case1 {EXAMPLE}", "prefill-0")
    [device] = cuda["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    least = service(f"case1 {EXAMPLE} security=least", "decode-0")
    assert "privileged" not in least
    assert least["cap_add"] == ["IPC_LOCK", "SYS_NICE"]
    assert (least["ulimits"], least["devices"]) == ({"memlock": -1}, ["/dev/infiniband"])


def _reserved(**wanted: Any) -> dict[str, Any]:
    device = {"driver": "nvidia", **wanted, "capabilities": ["gpu"]}
    return {"resources": {"reservations": {"devices": [device]}}}


def test_compose_leaves_variables_to_the_shell_in_the_container() -> None:
    [script] = service(f"case1 {EXAMPLE}", "prefill-0")["command"]
    assert "x86_64-linux-gnu:$${LD_LIBRARY_PATH}" in script
    assert "$${" not in script.replace("$${LD_LIBRARY_PATH}", "")


def test_compose_needs_containers() -> None:
    with pytest.raises(BadInput, match="runtime=docker"):
        export.render(plan("case1", EXAMPLE, "runtime=process"), "compose")


@pytest.mark.parametrize("runtime", ["process", "docker"])
def test_compose_has_no_form_for_standins(runtime: str) -> None:
    """Nothing in a container says where ${ENGINE_PYTHON} and ${MODEL_DIR} are."""
    with pytest.raises(BadInput, match="stand-ins"):
        export.render(plan("case1", f"runtime={runtime}"), "compose")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--gpus=2"], {"deploy": _reserved(count=2)}),
        (['--gpus="device=0,1"'], {"deploy": _reserved(device_ids=["0", "1"])}),
        (["--gpus=device=3"], {"deploy": _reserved(device_ids=["3"])}),
        (["--network=host", "--shm-size=8g"], {"network_mode": "host", "shm_size": "8g"}),
        (["--user=1000:1000", "--memory=64g"], {"user": "1000:1000", "mem_limit": "64g"}),
        (["--ulimit=memlock=-1:-1"], {"ulimits": {"memlock": -1}}),
        (["--ulimit=nofile=1024:4096"], {"ulimits": {"nofile": {"soft": 1024, "hard": 4096}}}),
        (["--pid=host", "--cpuset-cpus=0-7"], {"pid": "host", "cpuset": "0-7"}),
        (["--env=A=$B", "-v", "/a:/b:ro"], {"environment": ["A=$$B"], "volumes": ["/a:/b:ro"]}),
        (
            ["--security-opt=seccomp=unconfined", "--group-add=5"],
            {"security_opt": ["seccomp=unconfined"], "group_add": ["5"]},
        ),
    ],
)
def test_compose_says_what_docker_run_says(words: list[str], expected: dict[str, Any]) -> None:
    rendered = plan("case1", EXAMPLE)
    role = rendered.roles[0].model_copy(update={"container": ContainerPlan(image="x", args=words)})
    text = export.render(rendered.model_copy(update={"roles": [role]}), "compose")
    found = yaml.safe_load(text)["services"]["prefill-0"]
    rest = {"image", "profiles", "entrypoint", "command"}
    assert {name: value for name, value in found.items() if name not in rest} == expected


def test_unknown_format_is_refused() -> None:
    with pytest.raises(BadInput, match="did you mean 'json'"):
        export.render(plan("case1"), "jsn")


@pytest.mark.parametrize("form", export.FORMATS)
def test_no_secret_of_the_environment_is_in_a_plan(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_do_not_show")
    text = export.render(plan("case1", EXAMPLE), form, load(ROOT))
    assert "hf_do_not_show" not in text


def test_standin_script_keeps_the_runtimes_placeholders() -> None:
    text = export.render(plan("case1"), "bash")
    assert 'exec "${ENGINE_PYTHON}" -m vllm' in text
    assert '--model "${MODEL_DIR}"' in text
    config = json.loads(plan("case1").engines[0].argv[-1])
    assert f"'{json.dumps(config)}'" in text


def test_a_plan_is_made_and_shown_without_clients_of_anything() -> None:
    check = "import sys, heteropd.export; sys.exit(any(m in sys.modules for m in ('docker', 'httpx')))"
    done = LocalRunner().run(
        [sys.executable, "-c", check], env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    )
    assert (done.code, done.err) == (0, "")
