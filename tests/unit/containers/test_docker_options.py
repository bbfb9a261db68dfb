"""The plan's container arguments as docker-py takes them: all that env/ uses."""

from pathlib import Path

import pytest
from docker.types import DeviceRequest, Ulimit

from heteropd.config.container_options import parse
from heteropd.config.machine import Machine
from heteropd.containers.docker_options import create_options
from plan_words import make

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--privileged"], {"privileged": True}),
        (["--net=host", "--ipc=host"], {"network_mode": "host", "ipc_mode": "host"}),
        (["--cap-add=IPC_LOCK", "--cap-add=SYS_NICE"], {"cap_add": ["IPC_LOCK", "SYS_NICE"]}),
        (["--device=/dev/infiniband"], {"devices": ["/dev/infiniband:/dev/infiniband:rwm"]}),
        (["--device=/dev/a:/dev/b:r"], {"devices": ["/dev/a:/dev/b:r"]}),
        (["--ulimit=memlock=-1"], {"ulimits": [Ulimit(name="memlock", soft=-1, hard=-1)]}),
        (["--ulimit=nofile=1024:4096"], {"ulimits": [Ulimit(name="nofile", soft=1024, hard=4096)]}),
        (["--gpus=all"], {"device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])]}),
        (
            ["--gpus=device=0,2"],
            {"device_requests": [DeviceRequest(device_ids=["0", "2"], capabilities=[["gpu"]])]},
        ),
        (
            ["--runtime=habana", "--env=HABANA_VISIBLE_DEVICES=all"],
            {"runtime": "habana", "environment": {"HABANA_VISIBLE_DEVICES": "all"}},
        ),
        (["--volume=/a:/b:ro", "--shm-size=1g"], {"volumes": ["/a:/b:ro"], "shm_size": "1g"}),
        (["-m", "4g", "--cpuset-cpus=0-3"], {"mem_limit": "4g", "cpuset_cpus": "0-3"}),
        (["--pid=host", "-u", "1000:1000"], {"pid_mode": "host", "user": "1000:1000"}),
    ],
)
def test_arguments_mean_what_docker_run_means(words, options):
    assert create_options(parse(words, "here")) == options


@pytest.mark.parametrize("case", ["case1", "case2"])
@pytest.mark.parametrize("security", ["privileged", "least"])
@pytest.mark.parametrize("pins", ["doc-2025-12", "v0.26"])
def test_every_argument_that_env_plans_for_hardware_is_understood(case, security, pins):
    words = [case, "hosts=env/hosts/example.yaml", f"security={security}", f"pins={pins}"]
    if (case, pins) == ("case2", "doc-2025-12"):
        words.append("variant=prefill-process")
    for role in make(words, ROOT, Machine(cores=[0])).engines:
        options = create_options(role.container.options)
        assert options["network_mode"] == options["ipc_mode"] == "host"
        assert ("privileged" in options) == (security == "privileged")
        if security == "least":
            assert "IPC_LOCK" in options["cap_add"]
            assert {one.name: one.hard for one in options["ulimits"]} == {"memlock": -1}
        if role.platform == "cuda":
            assert options["device_requests"] == [DeviceRequest(count=-1, capabilities=[["gpu"]])]
        else:
            assert options["runtime"] == "habana"
