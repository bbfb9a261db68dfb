"""Cases of devices, Docker, runtimes and drivers: strangers' work is not the plan's, the unknown not good."""

from __future__ import annotations

import json
from typing import Any

from doctor_cases import CARD, CONTROL, GPU, HPU, Case, node_case
from doctor_texts import DOCKER

from heteropd.doctor.model import Requirements
from heteropd.plan.model import ContainerPlan, Ports

# Eight GPUs, with other people's work on the first four.
GPUS = "".join(GPU.replace("0, NVIDIA", f"{n}, NVIDIA").replace("GPU-0", f"GPU-{n}") for n in range(8))
STRANGERS = "".join(f"app\t{900 + n}, /opt/a, b/python3, 70000 MiB, GPU-{n}\n" for n in range(4))
BUSY = (GPU, GPUS + STRANGERS)
OURS = {"env": {"CUDA_VISIBLE_DEVICES": "4"}}
ALL_BUT = {"env": {"CUDA_VISIBLE_DEVICES": "3,4"}}
HPUS = "".join(HPU.replace("0, HL", f"{n}, HL") for n in range(8))
CARDS = "".join((CARD + CONTROL).replace("accel0", f"accel{n}").replace("D0", f"D{n}") for n in range(8))
SECOND = {"env": {"HABANA_VISIBLE_DEVICES": "1"}}
HELD = "holder\t4711\t/dev/accel/accel0\n"
MORE_CARDS = [(CARD + CONTROL, CARDS), (HPU, HPUS)]

IMAGES = {"cuda": "heteropd/cuda:doc-2025-12-base", "gaudi": "heteropd/gaudi:doc-2025-12-base"}
DEVICE_ARGS = {
    "cuda": ["--gpus=all"],
    "gaudi": ["--runtime=habana", "--env=HABANA_VISIBLE_DEVICES=all"],
    "cpu": [],
}
NEEDS = Requirements("23.0", {"cuda": "12.8", "gaudi": "1.22"})
OTHER_DRIVER = "driver\tnvidia\t570.124.06\n"
GAUDI_DRIVER = "driver\thabanalabs\t1.22.2-32a8e4d\n"
RDMA = {"UCX_NET_DEVICES": "mlx5_0:1"}
VERBS = "verbs\t/dev/infiniband/uverbs0\tyes\n"
CLOSED_OTHER = "verbs\t/dev/infiniband/uverbs1\tno\tmlx5_1\n"


def docker(socket: str = "there", info: Any = None, **version: Any) -> tuple[str, str]:
    """What a host says of its Docker instead."""
    version = {"Version": "27.1.1", "Components": [{"Name": "Engine"}]} | version
    info = {"Runtimes": {"runc": {}, "nvidia": {}, "habana": {}}} if info is None else info
    said = [json.dumps(version), json.dumps(info)] if socket == "there" else []
    return DOCKER, "\t".join(["docker", socket, *said]) + "\n"


def boxed(kind: str, *device_args: str, image: str = "", **target: Any) -> dict[str, Any]:
    """The engines of a kind in containers of the kit's image, or another."""
    words = list(device_args) or DEVICE_ARGS[kind]
    container = ContainerPlan(image=image or IMAGES.get(kind, "image"), args=[], device_args=words)
    return {"container": container, "needs": NEEDS} | target


def driver(version: str) -> list[tuple[str, str]]:
    return [("570.124.06", version)]


CUDA_13 = boxed("cuda", needs=Requirements("23.0", {"cuda": "13.0"}))
UNKNOWN_CUDA = boxed("cuda", needs=Requirements("23.0", {"cuda": "11.8"}))
BARE = {"Runtimes": {"runc": {}, "io.containerd.runc.v2": {}}}
HOOK = "program\tnvidia-container-runtime-hook\n"

DEVICE_CASES: list[Case] = [
    node_case("T2-35-accelerator-free", "PASS", "cuda", BUSY, **OURS),
    node_case("T2-35-accelerator-free", "FAIL", "cuda", BUSY),
    node_case("T2-35-accelerator-free", "FAIL", "cuda", BUSY, **ALL_BUT),
    node_case("T2-35-accelerator-free", "PASS", "cuda", BUSY, env={"CUDA_VISIBLE_DEVICES": "GPU-5"}),
    node_case("T2-35-accelerator-free", "PASS", "cuda", BUSY, **boxed("cuda", '--gpus="device=6,7"')),
    node_case("T2-35-accelerator-free", "WARN", "cuda", (GPU, GPU + "app\tInsufficient permissions\n")),
    node_case("T2-35-accelerator-free", "WARN", "cuda", (GPU, GPU + "app\t7, python3, 5 MiB, GPU-9\n")),
    node_case("T2-35-accelerator-free", "PASS", "gaudi", *MORE_CARDS, ("end\n", f"{HELD}end\n"), **SECOND),
    node_case("T2-35-accelerator-free", "FAIL", "gaudi", *MORE_CARDS, ("end\n", f"{HELD}end\n")),
    node_case("T2-14-accel-devices", "PASS", "gaudi", *MORE_CARDS, ("accel0\tyes", "accel0\tno"), **SECOND),
    node_case("T2-14-accel-devices", "FAIL", "gaudi", *MORE_CARDS, ("accel1\tyes", "accel1\tno"), **SECOND),
    node_case(
        "T2-14-accel-devices",
        "FAIL",
        "gaudi",
        *MORE_CARDS,
        ("/dev/accel/accel_controlD1\tyes", "x\tyes"),
        **SECOND,
    ),
    node_case(
        "T2-51-accelerator-answers",
        "WARN",
        "cuda",
        (GPU, GPU + "gpu\tUnable to determine the device handle\n"),
    ),
    node_case("T2-51-accelerator-answers", "FAIL", "cuda", (GPU, "gpu\t[N/A], [N/A]\n")),
    node_case("T2-51-accelerator-answers", "FAIL", "gaudi", (HPU, "hpu\tusage: hl-smi [-h] [-q]\n")),
    node_case("T2-61-planned-devices", "PASS", "cuda", BUSY, **OURS),
    node_case("T2-61-planned-devices", "PASS", "gaudi"),
    node_case("T2-61-planned-devices", "FAIL", "cuda", **OURS),
    node_case("T2-61-planned-devices", "FAIL", "cuda", BUSY, env={"CUDA_VISIBLE_DEVICES": "7,8"}),
    node_case("T2-61-planned-devices", "FAIL", "cuda", BUSY, env={"CUDA_VISIBLE_DEVICES": "GPU-77"}),
    node_case("T2-61-planned-devices", "FAIL", "cuda", BUSY, **boxed("cuda", "--gpus=device=9")),
    node_case(
        "T2-61-planned-devices", "FAIL", "gaudi", (CARD, CARD + "accel\t/dev/accel/accel7\tyes\n"), **SECOND
    ),
    node_case(
        "T2-61-planned-devices", "FAIL", "cuda", ports=Ports(api=8100, side_channel=5600, side_channels=4)
    ),
    node_case("T2-61-planned-devices", "SKIP", "cuda", (GPU, "gpu\tNVIDIA-SMI has failed\n")),
    node_case("T2-61-planned-devices", "SKIP", "cpu"),
    node_case(
        "T2-10-verbs-devices", "PASS", "cuda", (VERBS, f"{VERBS[:-1]}\tmlx5_0\n{CLOSED_OTHER}"), env=RDMA
    ),
    node_case(
        "T2-10-verbs-devices",
        "FAIL",
        "cuda",
        (VERBS, f"{VERBS[:-1]}\tmlx5_0\n{CLOSED_OTHER}"),
        env={"UCX_NET_DEVICES": "all"},
    ),
    node_case("T2-10-verbs-devices", "FAIL", "cuda", (VERBS, CLOSED_OTHER), env=RDMA),
    # No port of that name at all is one fault, and T2-09's.
    node_case("T2-10-verbs-devices", "SKIP", "cuda", env={"UCX_NET_DEVICES": "mlx5_7:1"}),
]
CONTAINER_CASES: list[Case] = [
    node_case("T2-62-docker", "PASS", "cuda", **boxed("cuda")),
    node_case("T2-62-docker", "FAIL", "cuda", docker("absent"), **boxed("cuda")),
    node_case("T2-62-docker", "FAIL", "cuda", docker("denied"), **boxed("cuda")),
    node_case("T2-62-docker", "FAIL", "cuda", (DOCKER, "docker\tthere\tnull\t{}\n"), **boxed("cuda")),
    node_case("T2-62-docker", "FAIL", "cuda", (DOCKER, "docker\tthere\t<html>\n"), **boxed("cuda")),
    node_case("T2-62-docker", "FAIL", "cuda", docker(Version="20.10.24"), **boxed("cuda")),
    node_case("T2-62-docker", "FAIL", "cpu", docker(Version="19.03.1+dfsg"), **boxed("cpu")),
    node_case(
        "T2-62-docker",
        "WARN",
        "cuda",
        docker(Version="5.2.1", Components=[{"Name": "Podman Engine"}]),
        **boxed("cuda"),
    ),
    node_case("T2-62-docker", "WARN", "cuda", docker(Version="dev"), **boxed("cuda")),
    node_case("T2-62-docker", "WARN", "cuda", (DOCKER, ""), **boxed("cuda")),
    node_case("T2-62-docker", "SKIP", "cuda"),
    node_case("T2-63-container-runtime", "PASS", "cuda", **boxed("cuda")),
    node_case("T2-63-container-runtime", "PASS", "gaudi", **boxed("gaudi")),
    node_case(
        "T2-63-container-runtime", "PASS", "cuda", (DOCKER, docker(info=BARE)[1] + HOOK), **boxed("cuda")
    ),
    node_case("T2-63-container-runtime", "FAIL", "cuda", docker(info=BARE), **boxed("cuda")),
    node_case("T2-63-container-runtime", "FAIL", "gaudi", docker(info=BARE), **boxed("gaudi")),
    node_case(
        "T2-63-container-runtime", "FAIL", "gaudi", (DOCKER, docker(info=BARE)[1] + HOOK), **boxed("gaudi")
    ),
    node_case(
        "T2-63-container-runtime", "WARN", "cuda", docker(info={"ServerErrors": ["x"]}), **boxed("cuda")
    ),
    node_case("T2-63-container-runtime", "SKIP", "cuda"),
    node_case("T2-64-driver", "PASS", "cuda", **boxed("cuda")),
    node_case("T2-64-driver", "PASS", "gaudi", **boxed("gaudi")),
    node_case("T2-64-driver", "PASS", "cuda", *driver("580.65.06"), **CUDA_13),
    node_case("T2-64-driver", "FAIL", "cuda", **CUDA_13),
    node_case("T2-64-driver", "FAIL", "cuda", *driver("535.183.01"), **boxed("cuda")),
    node_case("T2-64-driver", "FAIL", "gaudi", ("1.22.2-32a8e4d", "1.21.0-555"), **boxed("gaudi")),
    node_case("T2-64-driver", "WARN", "gaudi", ("1.22.2-32a8e4d", "1.23.0-1"), **boxed("gaudi")),
    node_case("T2-64-driver", "WARN", "cuda", *driver("535.183.01"), **boxed("cuda", image="site/vllm:mine")),
    node_case("T2-64-driver", "WARN", "cuda", *driver("[N/A]"), **boxed("cuda")),
    node_case(
        "T2-64-driver", "WARN", "gaudi", (GAUDI_DRIVER, ""), (", 1.22.2-32a8e4d", ""), **boxed("gaudi")
    ),
    node_case("T2-64-driver", "PASS", "gaudi", (GAUDI_DRIVER, ""), **boxed("gaudi")),
    node_case("T2-64-driver", "SKIP", "cuda", **UNKNOWN_CUDA),
    node_case("T2-64-driver", "SKIP", "cuda", **boxed("cuda", needs=Requirements("23.0"))),
    node_case("T2-64-driver", "SKIP", "cuda"),
]
