"""What the plan renders equals the source document, item by item; and stays what it was for the rest."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from heteropd.config.machine import Machine
from heteropd.plan.model import Plan
from plan_words import make

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
DOCUMENT: dict[str, Any] = yaml.safe_load((HERE / "data" / "source_document.yaml").read_text())
HOSTS = "hosts=env/hosts/example.yaml"
CASES = ["case1", "case2"]


def plan(*words: str) -> Plan:
    return make(words, ROOT, Machine(cores=[0, 1]))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("platform", ["cuda", "gaudi"])
def test_engine_equals_the_launch_script(case: str, platform: str) -> None:
    expected = DOCUMENT[case][platform]
    [engine] = [one for one in plan(case, HOSTS).engines if one.platform == platform]
    assert engine.role == expected["role"]
    assert engine.env == expected["env"]
    assert engine.argv[:-1] == expected["argv"]
    assert json.loads(engine.argv[-1]) == json.loads(expected["kv_transfer_config"])


@pytest.mark.parametrize("case", CASES)
def test_toy_router_equals_the_proxy_command(case: str) -> None:
    router = plan(case, HOSTS, "router=toy").router
    assert router.argv == DOCUMENT[case]["proxy"]
    assert router.env == {}


@pytest.mark.parametrize("case", CASES)
def test_container_arguments_are_the_documented_ones(case: str) -> None:
    for engine in plan(case, HOSTS).engines:
        assert engine.container is not None
        assert engine.container.args == DOCUMENT["container_args"]
        devices = {"cuda": ["--gpus=all"], "gaudi": ["--runtime=habana", "--env=HABANA_VISIBLE_DEVICES=all"]}
        assert engine.container.device_args == devices[engine.platform]


def test_least_security_drops_privileged() -> None:
    for engine in plan("case1", HOSTS, "security=least").engines:
        assert engine.container is not None
        assert "--privileged" not in engine.container.args
        assert "--cap-add=IPC_LOCK" in engine.container.args


@pytest.mark.parametrize("case", CASES)
def test_bash_script_hands_the_documents_environment_and_argv_to_vllm(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heteropd import export  # noqa: PLC0415
    from heteropd.system import LocalRunner  # noqa: PLC0415

    stub = tmp_path / "vllm"
    stub.write_text('#!/bin/sh\nenv -0 > "$OUT.env"\nprintf "%s\\0" vllm "$@" > "$OUT.argv"\n')
    stub.chmod(0o755)
    script = tmp_path / "plan.sh"
    script.write_text(export.render(plan(case, HOSTS), "bash"))
    bash = shutil.which("bash")
    assert bash is not None
    for platform in ("cuda", "gaudi"):
        expected = DOCUMENT[case][platform]
        out = tmp_path / platform
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("LD_LIBRARY_PATH", "/before")
        monkeypatch.setenv("OUT", str(out))
        done = LocalRunner().run([bash, str(script), f"{expected['role']}-0"])
        assert (done.code, done.err) == (0, "")
        argv = Path(f"{out}.argv").read_text().split("\0")[:-1]
        assert argv[:-1] == expected["argv"]
        assert json.loads(argv[-1]) == json.loads(expected["kv_transfer_config"])
        env = dict(line.split("=", 1) for line in Path(f"{out}.env").read_text().split("\0") if line)
        wanted = {k: v.replace("${LD_LIBRARY_PATH}", "/before") for k, v in expected["env"].items()}
        assert {name: env.get(name) for name in wanted} == wanted


def test_bash_script_refuses_an_unknown_role(tmp_path: Path) -> None:
    from heteropd import export  # noqa: PLC0415
    from heteropd.system import LocalRunner  # noqa: PLC0415

    script = tmp_path / "plan.sh"
    script.write_text(export.render(plan("case1", HOSTS), "bash"))
    done = LocalRunner().run(["bash", str(script), "nobody"])
    assert done.code == 2
    assert "prefill-0|decode-0|router" in done.err


V026_GAUDI = {
    "case1": {"VLLM_HPU_HETERO_KV_LAYOUT": "true", "PT_HPU_ENABLE_RESTORE_KV_LAYOUT": "1"},
    "case2": {"VLLM_HPU_HETERO_KV_LAYOUT": "true", "VLLM_HPU_NIXL_JOINT_KV": "true"},
}


@pytest.mark.parametrize("case", CASES)
def test_release_pins_add_their_switches_on_gaudi_only(case: str) -> None:
    engines = {one.platform: one for one in plan(case, HOSTS, "pins=v0.26").engines}
    base = {name: engine["env"] for name, engine in DOCUMENT[case].items() if name != "proxy"}
    for env in base.values():
        inert = {"LD_LIBRARY_PATH", "VLLM_USE_V1"}
        assert inert <= set(env)
    kept = {name: {k: v for k, v in env.items() if k not in inert} for name, env in base.items()}
    assert engines["cuda"].env == kept["cuda"]
    assert engines["gaudi"].env == kept["gaudi"] | V026_GAUDI[case]


ALIKE = ["prefill_kv_layout=NHD", "prefill_block_size=128"]
GOLDEN = {
    "case1-standin": ["case1"],
    "case2-standin": ["case2"],
    "case1-hosts": ["case1", HOSTS],
    "case2-hosts-v0.26": ["case2", HOSTS, "pins=v0.26"],
    "case1-hosts-v0.30": ["case1", HOSTS, "pins=v0.30"],
    "case2-hosts-v0.30": ["case2", HOSTS, "pins=v0.30"],
    "case1-mixed": ["case1", "standin=gaudi"],
    "case2-mixed": ["case2", "standin=gaudi"],
    "case1-mixed-rdma": ["case1", "hosts=tests/unit/plan/data/mixed-rdma.yaml"],
    "case1-hosts-v0.30-through-host": ["case1", HOSTS, "pins=v0.30", *ALIKE],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_plan_is_what_it_was(name: str) -> None:
    """A changed plan is a changed topology: the stored form makes the change visible in review."""
    file = HERE / "golden" / f"{name}.json"
    rendered = json.loads(plan(*GOLDEN[name]).model_dump_json())
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(json.dumps(rendered, indent=2) + "\n")
    assert rendered == json.loads(file.read_text()), "if meant: UPDATE_GOLDEN=1 pytest, and review the diff"
