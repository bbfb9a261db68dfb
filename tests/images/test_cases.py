"""Both cases in containers, from the command line, on real engines: verdict PASS, and nothing left.

Case 1 runs images that were built here; case 2 runs the same by digest, on another engine that pulls them.
"""

from __future__ import annotations

from pathlib import Path

import docker
import pytest
from e2e_kit import Kit, kit, listening, plan_otherwise, port_words
from lab.kit import ROOT, heteropd

LABEL = "io.heteropd.state"


def test_case1_passes_in_containers_of_images_that_were_built_here(
    images: dict[str, str], engine: str
) -> None:
    _prove("case1", [], set(images.values()), engine)


def test_case2_passes_by_digest_on_an_engine_that_pulls(
    images: dict[str, str], registry: str, second_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heteropd("publish", *images, f"registry={registry}/pd", "unlocked=1")
    file = max((ROOT / ".heteropd" / "published").glob("*.yaml"), key=lambda one: one.stat().st_mtime_ns)
    monkeypatch.setenv("DOCKER_HOST", second_engine)
    _prove("case2", [f"images={file}"], None, second_engine)


def _prove(case: str, more: list[str], references: set[str] | None, engine: str) -> None:
    client = docker.DockerClient(base_url=engine)
    before = _count(client)
    words = [*port_words(), "runtime=docker", *more]
    with kit() as one:
        done = one.run("run", case, *words, timeout_s=1500)
        assert done.returncode == 0, done.stdout + done.stderr
        report = one.report()
        assert (report["passed"], report["standin"]) == (True, True)
        assert {probe["outcome"] for probe in report["probes"]} == {"equal"}
        ours = {"label": f"{LABEL}={one.state}"}
        running = {each.attrs["Config"]["Image"] for each in client.containers.list(filters=ours)}
        if references is not None:
            assert running == references
        else:
            assert all("@sha256:" in reference for reference in running), running
        assert all(
            each.attrs["Config"]["User"] == "heteropd" for each in client.containers.list(filters=ours)
        )
        assert one.status()["state"] == "up"
        _infra(one)
        _down(one, client, words)
    assert _count(client) == before
    client.close()


def _infra(one: Kit) -> None:
    """The suites look into every container: all green, and red where the plan is another."""
    status, outcomes, said = one.infra("--strict")
    assert (status, outcomes["failed"]) == (0, set()), said
    roles = {name.rpartition(" ")[2] for name in outcomes["passed"] if name.startswith("test_role_runs")}
    assert roles == {"prefill-0", "decode-0", "router"}, said
    otherwise, red = plan_otherwise(one.state_of_plan())
    status, outcomes, said = one.infra(plan=otherwise)
    assert (status, outcomes["failed"]) == (1, red), said


def _down(one: Kit, client: docker.DockerClient, words: list[str]) -> None:
    ended = one.run("down")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 containers removed, ports free" in ended.stdout
    assert client.containers.list(all=True, filters={"label": f"{LABEL}={one.state}"}) == []
    ports = [int(word.partition("=")[2]) for word in words if "port=" in word]
    assert not any(listening(port) for port in ports)
    assert one.shared_memory() == []
    assert Path(one.state / "logs" / "decode-0.log").stat().st_size > 0


def _count(client: docker.DockerClient) -> dict[str, int]:
    return {"volumes": len(client.volumes.list()), "networks": len(client.networks.list())}
