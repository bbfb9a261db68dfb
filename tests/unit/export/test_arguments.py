"""No container argument is dropped: each is in the pod, or named in the comment at the top, or refused."""

from __future__ import annotations

import itertools

import pytest
from k8s_cluster import ENV, EXAMPLE, ROOT, Object, container, objects, plan, pod, text

from heteropd.config.container_options import ContainerOptions
from heteropd.config.platforms import Pod
from heteropd.config.problems import validate
from heteropd.errors import BadInput
from heteropd.plan.model import Plan

PLANS = [
    *(f"{case} {EXAMPLE} security={security}" for case in ("case1", "case2[v0.26]") for security in
      ("privileged", "least")),
    "case1",
]  # fmt: skip


def _plan(words: str) -> Plan:
    return plan(*words.replace("case2[v0.26]", "case2 pins=v0.26").split())


def _host_network(spec: Object, _main: Object) -> bool:
    return bool(spec.get("hostNetwork")) and spec["dnsPolicy"] == "ClusterFirstWithHostNet"


def _shm(spec: Object, main: Object) -> bool:
    volume = next(one for one in spec["volumes"] if one["name"] == "shm")
    assert volume["emptyDir"]["medium"] == "Memory"
    assert volume["emptyDir"]["sizeLimit"]
    return {"name": "shm", "mountPath": "/dev/shm"} in main["volumeMounts"]


def _limit(name: str):
    return lambda _spec, main: main["resources"].get("limits", {}).get(name) == "1"


def _added(name: str):
    return lambda _spec, main: name in main["securityContext"].get("capabilities", {}).get("add", [])


IN_A_POD = {
    "--privileged": lambda _spec, main: main["securityContext"] == {"privileged": True},
    "--net=host": _host_network,
    "--ipc=host": _shm,
    "--gpus=all": _limit("nvidia.com/gpu"),
    "--runtime=habana": _limit("habana.ai/gaudi"),
    "--device=/dev/infiniband": _limit("rdma/hca_shared_devices_a"),
    "--cap-add=IPC_LOCK": _added("IPC_LOCK"),
    "--cap-add=SYS_NICE": _added("SYS_NICE"),
}
BY_NAME = {
    ("--net=host", "cpu"): "the pod's own network",
    ("--net=host", "router"): "the pod's own network",
    ("--ulimit=memlock=-1", "cuda"): "LEFT TO THE NODES",
    ("--ulimit=memlock=-1", "gaudi"): "LEFT TO THE NODES",
    ("--env=HABANA_VISIBLE_DEVICES=all", "gaudi"): "left out: the device plugin",
}


@pytest.mark.parametrize("words", PLANS)
def test_every_argument_of_every_platform_is_mapped_or_named(words: str) -> None:
    what = _plan(words)
    lines = [line for line in text(what).splitlines() if line.startswith("#   --")]
    for role in what.roles:
        assert role.container is not None
        spec, main = pod(what, role.name), container(what, role.name)
        for argument in [*role.container.args, *role.container.device_args]:
            [line] = [
                one for one in lines if one.startswith(f"#   {argument} (") and role.name in one.split(")")[0]
            ]
            expected = BY_NAME.get((argument, role.runs_on))
            if expected:
                assert expected in line
            else:
                assert IN_A_POD[argument](spec, main), argument


def test_the_table_above_misses_no_argument_of_env() -> None:
    containers = [ENV.platforms[name].container for name in ENV.platforms]
    known = {
        *itertools.chain.from_iterable(options.words() for options in ENV.defaults.containers.args.values()),
        *itertools.chain.from_iterable(
            options.words()
            for container in containers
            for options in (container.args, container.device_args, container.least_args)
            if options
        ),
    }
    assert known == set(IN_A_POD) | {argument for argument, _ in BY_NAME}


def test_what_is_not_asked_for_is_not_given() -> None:
    for name in ("prefill-0", "decode-0"):
        main, spec = container(plan("case1"), name), pod(plan("case1"), name)
        assert "limits" not in main["resources"]
        assert not {"hostNetwork", "hostIPC", "hostPID"} & set(spec)
    least = plan("case1", EXAMPLE, "security=least")
    assert container(least, "prefill-0")["securityContext"]["capabilities"] == {"add": ["IPC_LOCK"]}
    privileged = container(plan("case1", EXAMPLE), "prefill-0")
    assert privileged["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    environment = {one["name"] for one in container(plan("case1", EXAMPLE), "decode-0")["env"]}
    assert "HABANA_VISIBLE_DEVICES" not in environment


def _with(argument: str, at: int = 0) -> Plan:
    what = plan("case1", EXAMPLE)
    role = what.roles[at]
    assert role.container is not None
    more = role.container.model_copy(update={"args": [argument], "device_args": []})
    roles = [*what.roles]
    roles[at] = role.model_copy(update={"container": more})
    return what.model_copy(update={"roles": roles})


@pytest.mark.parametrize(
    ("argument", "where", "expected"),
    [
        ("--gpus=2", "resources", {"limits": {"nvidia.com/gpu": "2"}}),
        ('--gpus="device=0,2,3"', "resources", {"limits": {"nvidia.com/gpu": "3"}}),
        ("--memory=64g", "resources", {"limits": {"memory": "64Gi"}}),
        ("--env=A=b=c", "env", {"name": "A", "value": "b=c"}),
        ("--volume=/there:/here:ro", "volumeMounts",
         {"name": "folder-0", "mountPath": "/here", "readOnly": True}),
        ("--volume=/there:/here", "volumeMounts",
         {"name": "folder-0", "mountPath": "/here", "readOnly": False}),
    ],
)  # fmt: skip
def test_a_sites_own_argument_is_mapped(argument: str, where: str, expected: Object) -> None:
    found = container(_with(argument), "prefill-0")[where]
    assert expected in found if isinstance(found, list) else expected.items() <= found.items()


def test_sizes_of_shared_memory_are_dockers() -> None:
    for given, expected in (("16g", "16Gi"), ("512M", "512Mi"), ("1024", "1024"), ("2gb", "2Gi")):
        volumes = pod(_with(f"--shm-size={given}"), "prefill-0")["volumes"]
        assert volumes[0] == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": expected}}


@pytest.mark.parametrize(
    "argument",
    [
        "--net=bridge", "--ipc=shareable", "--device=/dev/other", "--pid=host",
        "--user=0", "--security-opt=seccomp=unconfined", "--group-add=5", "--volume=named:/here",
        "--volume=/there:/here:z",
    ],
)  # fmt: skip
def test_what_a_pod_cannot_have_is_refused_in_one_line(argument: str) -> None:
    with pytest.raises(BadInput) as stop:
        objects(_with(argument))
    assert repr(argument) in str(stop.value)
    assert "\n" not in str(stop.value)
    assert stop.value.fix


def test_no_argument_that_containers_take_is_dropped() -> None:
    """What the docker runtime understands is mapped, named or refused here too."""
    everything = ContainerOptions.model_validate(
        {"privileged": True, "shm_size": "1g", "memory": "1g", "cpuset": "0", "gpus": "all",
         "env": {"A": "b"}, "devices": ["/dev/infiniband"], "ulimits": {"core": 0}, "cap_add": ["SYS_NICE"],
         "volumes": ["/a:/b"]}
        | {name: ["host"] for name in ("group_add", "security_opt")}
        | dict.fromkeys(("network", "ipc", "pid", "runtime", "user"), "host")
    )  # fmt: skip
    assert {name for name, _, _ in everything.entries()} == set(ContainerOptions.model_fields)
    for argument in everything.words():
        option = argument.partition("=")[0]
        try:
            found = text(_with(argument))
        except BadInput as stop:
            assert option in str(stop)  # noqa: PT017
        else:
            assert f"#   {argument} (prefill-0" in found


def test_an_accelerator_without_a_resource_is_refused() -> None:
    with pytest.raises(BadInput, match=r"kubernetes\.router\.accelerator in env/defaults.yaml"):
        objects(_with("--gpus=all", at=2))


def test_a_runtime_class_is_named_where_the_site_has_one() -> None:
    gaudi = ENV.platforms["gaudi"]
    named = gaudi.model_copy(
        update={"kubernetes": gaudi.kubernetes.model_copy(update={"runtime_class": "habana"})}
    )
    env = ENV.model_copy(update={"platforms": {**ENV.platforms, "gaudi": named}})
    what = plan("case1", EXAMPLE)
    assert "runtimeClassName" not in pod(what, "decode-0")
    assert pod(what, "decode-0", env)["runtimeClassName"] == "habana"


@pytest.mark.parametrize(
    ("args", "count"),
    [
        ([], "1"),
        (["--tensor-parallel-size", "4"], "4"),
        (["--tensor-parallel-size=4", "-pp", "2"], "8"),
        (["-tp=2", "--max-model-len", "8192"], "2"),
    ],
)
def test_an_engine_gets_the_accelerators_that_its_command_opens(args: list[str], count: str) -> None:
    what = plan("case1", EXAMPLE)
    prefill = what.roles[0]
    wide = prefill.model_copy(update={"argv": [*prefill.argv, *args]})
    what = what.model_copy(update={"roles": [wide, *what.roles[1:]]})
    assert container(what, "prefill-0")["resources"]["limits"] == {"nvidia.com/gpu": count}


def test_the_images_user_is_the_one_that_pods_run_as() -> None:
    account = (ROOT / "docker/programs/account.sh").read_text()
    for name, image in ENV.images.images.items():
        dockerfile = (ROOT / "docker" / name / "Dockerfile").read_text()
        assert f"\nUSER {image.user}\n" in dockerfile
        assert image.uid == 0 if image.user == "root" else f"'{image.user}:x:{image.uid}:" in account


def test_capabilities_beside_privileged_are_kept() -> None:
    what = _with("--privileged")
    role = what.roles[0]
    assert role.container is not None
    more = role.container.model_copy(update={"args": ["--privileged", "--cap-add=SYS_NICE"]})
    what = what.model_copy(update={"roles": [role.model_copy(update={"container": more}), *what.roles[1:]]})
    expected = {"privileged": True, "capabilities": {"add": ["SYS_NICE"]}}
    assert container(what, "prefill-0")["securityContext"] == expected


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("accelerator", "nvidia.com/", "is not a resource of Kubernetes"),
        ("requests", {"cpu": "four"}, "is not a quantity"),
        ("requests", {"gpu": "1"}, "is not a resource of Kubernetes"),
        ("shm", "8 GiB", "is not a quantity"),
        ("runtime_class", "Habana", "is not a name in Kubernetes"),
        ("acelerator", "nvidia.com/gpu", "did you mean 'accelerator'?"),
    ],
)
def test_a_mistake_in_env_is_one_line_that_names_the_field(field: str, value: object, says: str) -> None:
    with pytest.raises(BadInput) as stop:
        validate(Pod, {field: value}, "env/platforms/cuda.yaml")
    assert str(stop.value).startswith(f"env/platforms/cuda.yaml: {field}")
    assert says in str(stop.value)
