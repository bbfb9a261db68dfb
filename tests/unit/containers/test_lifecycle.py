"""What Docker is told when a container is made: the plan's command alone, and no proxy of the caller's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import docker
import pytest

from heteropd.containers import docker_host, lifecycle, stopping, transfer
from heteropd.containers.lifecycle import ContainerLaunch, ContainerRef

PROXIES = {"httpProxy": "http://proxy:3128", "httpsProxy": "http://proxy:3128", "noProxy": "localhost"}


class Api(docker.APIClient):
    """docker-py's own client, with the user's configuration; what it would send is in ``bodies``."""

    def __init__(self) -> None:
        super().__init__(base_url="http+unix:///nowhere", version="1.44")
        self.bodies: list[dict[str, Any]] = []

    def create_container_from_config(self, config: Any, *_: Any, **__: Any) -> Any:
        self.bodies.append(json.loads(json.dumps(config)))
        return {"Id": "1"}

    def inspect_container(self, _: str) -> Any:
        return {"Id": "1", "Name": "/x", "State": {"Running": True, "Status": "running"}}

    def start(self, *_: Any, **__: Any) -> None: ...

    def remove_container(self, *_: Any, **__: Any) -> None: ...

    def wait(self, *_: Any, **__: Any) -> Any:
        return {"StatusCode": 0}

    def logs(self, *_: Any, **__: Any) -> bytes:
        return b""

    def get_archive(self, *_: Any, **__: Any) -> Any:
        return iter(()), {}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": PROXIES}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    made = Api()
    client = docker.DockerClient.__new__(docker.DockerClient)
    client.api = made
    for module in (lifecycle, stopping):
        monkeypatch.setattr(module, "client", lambda _: client)
    monkeypatch.setattr(docker_host, "connect", lambda **_: client)
    return made


def launch(tmp_path: Path, env: dict[str, str]) -> ContainerLaunch:
    argv = ["vllm", "serve", "/model"]
    return ContainerLaunch("heteropd-x-decode-0", "site/vllm:1", argv, env, {}, {}, tmp_path / "log")


def test_docker_py_would_pass_the_proxies_on(api: Api) -> None:
    """What the tests below are for: without our word, its configuration reaches every container."""
    api.create_container("image", "true")
    assert "http_proxy=http://proxy:3128" in api.bodies[0]["Env"]


def test_an_engine_gets_no_proxy_and_no_entrypoint_of_its_image(api: Api, tmp_path: Path) -> None:
    """An image whose entrypoint is `vllm serve` would run `vllm serve vllm serve …`."""
    lifecycle.start(launch(tmp_path, {"A": "1"}), "unix:///nowhere")
    assert api.bodies[0]["Env"] == ["A=1"]
    assert api.bodies[0]["Cmd"] == ["vllm", "serve", "/model"]
    assert api.bodies[0]["Entrypoint"] == [""], "what `docker run --entrypoint ''` sends"


def test_a_proxy_that_the_plan_names_is_passed_on(api: Api, tmp_path: Path) -> None:
    lifecycle.start(launch(tmp_path, {"https_proxy": "http://site:1"}), "unix:///nowhere")
    assert api.bodies[0]["Env"] == ["https_proxy=http://site:1"]


def test_nor_do_the_kits_own_helpers(api: Api, tmp_path: Path) -> None:
    ref = ContainerRef(id="1", name="decode-0", docker_host="ssh://node")
    stopping.remove_segments({ref: frozenset({"psm_1"})}, {"1": "image"})
    transfer.model(tmp_path, "ssh://node", "image", lambda _: None)
    assert [body["Cmd"] for body in api.bodies] == [["rm", "-f", "/dev/shm/psm_1"], ["true"]]
    for body in api.bodies:
        assert not body.get("Env")
        assert body["Entrypoint"] == [""]
