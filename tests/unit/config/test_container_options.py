"""Options of containers: YAML and the words of `docker run` mean the same; what is not known is one line."""

from __future__ import annotations

from typing import Any

import pytest

from heteropd.config.container_options import ContainerOptions, parse
from heteropd.config.platforms import Container
from heteropd.config.problems import validate
from heteropd.errors import BadInput


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["--privileged", "--net=host"], {"privileged": True, "network": "host"}),
        (["--privileged=false"], {}),
        (["--network", "host", "--ipc", "host"], {"network": "host", "ipc": "host"}),
        (["--gpus", "2"], {"gpus": 2}),
        (["--gpus=all"], {"gpus": "all"}),
        (['--gpus="device=0,2"'], {"gpus": ["0", "2"]}),
        (["--gpus=device=0,2"], {"gpus": ["0", "2"]}),
        (["--ulimit=memlock=-1"], {"ulimits": {"memlock": -1}}),
        (["--ulimit", "memlock=-1:-1"], {"ulimits": {"memlock": {"soft": -1, "hard": -1}}}),
        (["--ulimit=nofile=1024:4096"], {"ulimits": {"nofile": "1024:4096"}}),
        (["-e", "A=b=c", "--env=D="], {"env": {"A": "b=c", "D": ""}}),
        (["-v", "/a:/b:ro", "--volume=cache:/c"], {"volumes": ["/a:/b:ro", "cache:/c"]}),
        (["--device=/dev/a:/dev/b:r"], {"devices": ["/dev/a:/dev/b:r"]}),
        (["-m", "512m", "--shm-size=1.5g"], {"memory": "512m", "shm_size": "1.5g"}),
        ([], {}),
    ],
)
def test_words_and_yaml_are_the_same(words: list[str], fields: dict[str, Any]) -> None:
    options = validate(Container, {"args": fields}, "here").args
    assert options == validate(Container, {"args": words}, "here").args == parse(words, "here")
    assert options is not None
    assert parse(options.words(), "here") == options


@pytest.mark.parametrize(
    "words",
    [
        ["--pull=always"], ["privileged"], ["--privileged=yes"], ["--net"], ["--ulimit=memlock=much"],
        ["--ulimit=memlock"], ["--gpus=some"], ["--gpus=0"], ["--gpus=device=0,0"], [""], ["--gpu=all"],
        ["--env=NAME"], ["--shm-size=much"], ["--device=tty"], ["--volume=/a"], ["--cpuset-cpus=all"],
    ],
)  # fmt: skip
def test_what_is_not_known_is_one_line_that_names_the_place(words: list[str]) -> None:
    for refused in (
        lambda: parse(words, "env/platforms/cuda.yaml"),
        lambda: validate(Container, {"args": words}, "env/platforms/cuda.yaml"),
    ):
        with pytest.raises(BadInput) as stop:
            refused()
        assert str(stop.value).startswith("env/platforms/cuda.yaml: ")
        assert "\n" not in str(stop.value)
        assert stop.value.fix


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"gpus": True}, "args.gpus"),
        ({"gpus": []}, "args.gpus"),
        ({"ulimits": {"memlock": True}}, "args.ulimits.memlock"),
        ({"ulimits": {"memlock": {"soft": 1}}}, "args.ulimits.memlock.hard"),
        ({"netwrok": "host"}, "args.netwrok"),
        ({"env": {"A": 1}}, "args.env.A"),
    ],
)
def test_a_mistake_in_yaml_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as stop:
        validate(Container, {"args": fields}, "here")
    assert stop.value.field == field


def test_more_options_grow_lists_and_replace_single_values() -> None:
    first = ContainerOptions(network="host", cap_add=["A"], env={"X": "1", "Y": "1"}, gpus=["0"])
    more = ContainerOptions(network="none", cap_add=["B", "A"], env={"Y": "2"}, gpus=["1"])
    assert first.merged(more) == ContainerOptions(
        network="none", cap_add=["A", "B"], env={"X": "1", "Y": "2"}, gpus=["1"]
    )
    assert first.merged(ContainerOptions()) == first
