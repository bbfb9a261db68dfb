"""What healthy hosts print. Lines of NIXL and UCX are from real runs, over TCP and Soft-RoCE (recorded/)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded"


_COMMON = """\
clock	1795376000.1
kernel	6.8.0-60-generic
uid	0
verbs	/dev/infiniband/uverbs0	yes
port	mlx5_0	1	4: ACTIVE	Ethernet
port	mlx5_1	1	1: DOWN	Ethernet
gid	mlx5_0	1	0	fe80:0000:0000:0000:0202:c9ff:fe00:0001	IB/RoCE v1	ens1
gid	mlx5_0	1	1	fe80:0000:0000:0000:0202:c9ff:fe00:0001	RoCE v2	ens1
gid	mlx5_0	1	3	0000:0000:0000:0000:0000:ffff:c000:020a	RoCE v2	ens1
mtu	ens1	9000
mtu	lo	65536
address	127.0.0.1
address	192.0.2.10
address	192.0.2.20
address6	fd000000000000000000000000000002
sockets	read
listen	00000000:0016
listen	0100007F:A087
memlock	shell	unlimited	0000000000000000
ibdev	mlx5_0	/sys/devices/pci0000:00/0000:00:01.0/infiniband/mlx5_0	node mlx5_0
tcp_retries	8
memory_kib	263671876
disk_kib	943718400	/root
shm_kib	67108864
model	yes
model_is	0a1b2c3d4e5f
"""
DOCKER = """docker	there	{"Version": "27.1.1", "ApiVersion": "1.46", "Components": [{"Name": "Engine"}]}	\
{"Runtimes": {"runc": {}, "nvidia": {}, "habana": {}}}
"""
CUDA = f"""{_COMMON}{DOCKER}module	nvidia_peermem
nvidia	NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26 01:56:37 UTC 2025
driver	nvidia	570.124.06
gpu	0, NVIDIA H200, 0 MiB, 143771 MiB, 570.124.06, GPU-0
clock	1795376000.2
end
"""
GAUDI = f"""{_COMMON}{DOCKER}accel	/dev/accel/accel0	yes
accel	/dev/accel/accel_controlD0	yes
driver	habanalabs	1.22.2-32a8e4d
hpu	0, HL-225, 768 MiB, 98304 MiB, 1.22.2-32a8e4d
clock	1795376000.2
end
"""
CPU = f"""{DOCKER}\
kernel	6.1.0-44-amd64
uid	1000
address	127.0.0.1
sockets	read
memlock	shell	8388608	0000000000000000
tcp_retries	15
memory_kib	16252928
disk_kib	20971520	/home/someone
shm_kib	8126464
clock	1795376000.2
end
"""
LIBRARIES = "/opt/engine/lib/python3.11/site-packages/nixl_cu12.libs"
MADE: dict[str, Any] = {
    "error": None,
    "agent": True,
    "nixl": "1.5.1",
    "ucx": "1.23.0",
    "libraries": {
        "ibverbs": ["/usr/lib/x86_64-linux-gnu/libibverbs.so.1.14.44.0"],
        "ucp": [f"{LIBRARIES}/libucp-b39b3ed9.so.0.0.0"],
        "ucs": [f"{LIBRARIES}/libucs-14c218c5.so.0.0.0"],
        "uct": [f"{LIBRARIES}/libuct-1141f529.so.0.0.0"],
    },
    "opened": [],
}
MOVED = MADE | {
    "step": "transfer",
    "mb_s": {"WRITE": 9660.5, "READ": 9482.7},
    "wrong": {"READ": None, "WRITE": None},
}


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.log").read_text()


NODE_TCP, NODE_NO_RC, NODE_UNKNOWN = recorded("node_tcp"), recorded("node_no_rc"), recorded("node_unknown")
TRANSFER_TCP = recorded("transfer_tcp")
# Soft-RoCE's lines with a card's names in them.
NODE_RXE, TRANSFER_RXE = recorded("node_rxe"), recorded("transfer_rxe")
NODE_RDMA, TRANSFER_RDMA = (
    log.replace("rxe0", "mlx5_0").replace("rc_verbs", "rc_mlx5") for log in (NODE_RXE, TRANSFER_RXE)
)
LOGS = {"cpu": NODE_TCP, "rxe": NODE_RXE}
TEXTS = {
    "cuda": CUDA,
    "gaudi": GAUDI,
    "cpu": CPU,
    "router": CPU,
    "rxe": (RECORDED / "probe_rxe.txt").read_text(),
}
