"""Both cases in containers, from the command line, on real engines: verdict PASS, and nothing left."""

from __future__ import annotations

import docker
import pytest
from e2e_kit import kit, listening, port_words

LABEL = "io.heteropd.state"


@pytest.mark.parametrize("case", ["case1", "case2"])
def test_a_case_passes_in_containers_and_leaves_nothing(
    case: str, images: dict[str, str], engine: str
) -> None:
    client = docker.DockerClient(base_url=engine)
    before = {"volumes": len(client.volumes.list()), "networks": len(client.networks.list())}
    words = [*port_words(), "runtime=docker"]
    with kit() as one:
        done = one.run("run", case, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        report = one.report()
        assert (report["passed"], report["standin"]) == (True, True)
        assert {probe["outcome"] for probe in report["probes"]} == {"equal"}
        ours = {"label": f"{LABEL}={one.state}"}
        running = client.containers.list(filters=ours)
        assert {one.attrs["Config"]["Image"] for one in running} == set(images.values())
        assert all(one.attrs["Config"]["User"] not in ("0", "root") for one in running)
        assert one.status()["state"] == "up"
        assert one.run("validate").returncode == 0
        ended = one.run("down")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "3 containers removed, ports free" in ended.stdout
        assert client.containers.list(all=True, filters=ours) == []
        assert not any(listening(int(word.partition("=")[2])) for word in words[:-1])
        assert one.shared_memory() == []
    after = {"volumes": len(client.volumes.list()), "networks": len(client.networks.list())}
    assert after == before
    client.close()
