"""Cases of the checks that start NIXL, and of those that send something between two hosts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from doctor_cases import LOW, PORT, SHELL, Case, node_case, two
from doctor_hosts import ENGINES, HEARD, PINGED, engine, reported, seen, talker, with_role
from doctor_texts import (
    LIBRARIES,
    MADE,
    MOVED,
    NODE_NO_RC,
    NODE_TCP,
    NODE_UNKNOWN,
    TRANSFER_RDMA,
    TRANSFER_RXE,
    TRANSFER_TCP,
)

from heteropd.doctor import nixl
from heteropd.doctor.model import EngineTarget
from heteropd.system import Completed

REFUSED = "nixlBackendError: NIXL_ERR_BACKEND"
LOST = seen(log=NODE_NO_RC, error=REFUSED)
ABSENT = nixl.read("prefill-0", nixl.report(reported({"error": None, "missing": "No module named 'nixl'"})))
NO_PYTHON = Completed(("sh",), 127, "", "heteropd-probe: 1: exec: /nowhere/python: not found\n")
UNASKED = nixl.read("prefill-0", nixl.report(NO_PYTHON))
OTHER_UCX = f"{LIBRARIES}/../torch/lib/libucp.so.0"
TWICE = seen(libraries=MADE["libraries"] | {"ucp": [*MADE["libraries"]["ucp"], OTHER_UCX]})
TWO_VERBS = seen(
    libraries=MADE["libraries"]
    | {"ibverbs": [f"{LIBRARIES}/libibverbs-1de1263b.so.1", "/usr/lib/libibverbs.so.1"]}
)
NO_LIBRARIES = seen(libraries={}, ucx=None, error="ImportError: libucp.so.0: cannot open shared object file")
OLD = seen("decode-0", nixl="0.7.1")
SILENT = seen("decode-0", nixl=None)
GONE = Completed(("ssh",), 255, "", "Connection to 192.0.2.20 closed by remote host.\n")
NO_LISTENER = reported({"error": "the other side said nothing for 10 s"})
DROPPED = [reported(HEARD), reported(HEARD | {"connected": "no answer within 3 s"})]
CANNOT = [
    reported({"listening": "ours"}),
    reported({"listening": "cannot listen there: permission denied", "connected": None}),
]
LOG = TRANSFER_RDMA


def with_env(kind: str, **env: str) -> tuple[EngineTarget, ...]:
    """The host's engine with more in its environment."""
    return (with_role(ENGINES[kind], env=env),)


def ping(code: int, out: str) -> Any:
    return talker(ping=[reported(PINGED), reported({"code": code, "out": out})])


def moved(log: str = LOG, **changes: Any) -> Any:
    return talker(transfer=[reported(MOVED, log), reported(MOVED | changes, log)])


GID_3, GID_0, GID_7 = (with_env("cuda", UCX_IB_GID_INDEX=index) for index in "307")
TCP_ONLY = {"engines": with_env("gaudi", UCX_TLS="tcp,self")}
PLAIN_TCP = {"engines": (engine("decode-0", "cpu", "192.0.2.20", 5600, UCX_TLS="tcp,sm,self"),)}
UNKNOWN_PYTHON = {"engines": (replace(ENGINES["gaudi"], python=None),), "said": ()}
SOFT = (
    "ibdev\tmlx5_0\t/sys/devices/pci0000:00/0000:00:01.0/infiniband/mlx5_0",
    "ibdev\tmlx5_0\t/sys/devices/virtual/infiniband/mlx5_0",
)
LATER = ("clock\t1795376000.", "clock\t1795376060.")
OTHER_MODEL = ("model_is\t0a1b2c3d4e5f", "model_is\tf5e4d3c2b1a0")
PATIENT = ("tcp_retries\t8", "tcp_retries\t15")
DOWN = ("4: ACTIVE", "1: DOWN")

NODE_CASES: list[Case] = [
    node_case("T2-04-one-ucx", "PASS", "cuda"),
    node_case("T2-04-one-ucx", "PASS", "cpu"),
    node_case("T2-04-one-ucx", "FAIL", "cuda", said=[TWICE]),
    node_case("T2-04-one-ucx", "WARN", "cuda", said=[TWO_VERBS]),
    node_case("T2-04-one-ucx", "SKIP", "cuda", said=[ABSENT]),
    node_case("T2-04-one-ucx", "SKIP", "cuda", said=[]),
    node_case("T2-04-one-ucx", "SKIP", "cuda", said=[UNASKED]),
    node_case("T2-05-nixl-ucx", "PASS", "cuda"),
    node_case("T2-05-nixl-ucx", "FAIL", "cuda", said=[ABSENT]),
    node_case("T2-05-nixl-ucx", "FAIL", "cuda", said=[NO_LIBRARIES]),
    node_case("T2-05-nixl-ucx", "FAIL", "cpu", said=[LOST]),
    node_case("T2-05-nixl-ucx", "SKIP", "cuda", said=[LOST]),
    node_case("T2-05-nixl-ucx", "SKIP", "gaudi", said=[LOST], **TCP_ONLY),
    node_case("T2-05-nixl-ucx", "SKIP", "cuda", engines=()),
    node_case("T2-05-nixl-ucx", "WARN", "cuda", said=[UNASKED]),
    node_case("T2-07-transports", "PASS", "cpu"),
    node_case("T2-07-transports", "PASS", "cuda", said=[LOST]),
    node_case("T2-07-transports", "FAIL", "cpu", said=[seen(log=NODE_UNKNOWN)]),
    node_case("T2-07-transports", "SKIP", "cuda", said=[NO_LIBRARIES]),
    node_case("T2-07-transports", "SKIP", "cpu", said=[UNASKED]),
    node_case("T2-12-gid-index", "PASS", "cuda", engines=GID_3),
    node_case(
        "T2-12-gid-index", "PASS", "cuda", (PORT, PORT.replace("Ethernet", "InfiniBand")), engines=GID_0
    ),
    node_case("T2-12-gid-index", "FAIL", "cuda", engines=GID_7),
    node_case("T2-12-gid-index", "FAIL", "cuda", engines=GID_0),
    node_case("T2-12-gid-index", "SKIP", "cuda"),
    node_case("T2-12-gid-index", "SKIP", "cuda", engines=with_env("cuda", UCX_IB_GID_INDEX="auto")),
    node_case("T2-12-gid-index", "SKIP", "cuda", DOWN, engines=GID_3),
    node_case("T2-15-card-untouched", "PASS", "gaudi"),
    node_case("T2-15-card-untouched", "FAIL", "gaudi", said=[seen(opened=["/dev/accel/accel0"])]),
    node_case("T2-15-card-untouched", "SKIP", "gaudi", said=[ABSENT]),
    node_case("T2-15-card-untouched", "SKIP", "gaudi", said=[UNASKED]),
    node_case("T2-57-nixl-verbs", "PASS", "cuda"),
    node_case("T2-57-nixl-verbs", "FAIL", "cuda", said=[LOST]),
    node_case("T2-57-nixl-verbs", "FAIL", "cuda", said=[seen(log=NODE_TCP)]),
    node_case("T2-57-nixl-verbs", "SKIP", "cuda", DOWN, said=[LOST]),
    node_case("T2-57-nixl-verbs", "SKIP", "cuda", (SHELL, LOW), said=[LOST]),
    node_case("T2-57-nixl-verbs", "SKIP", "cuda", said=[NO_LIBRARIES]),
    node_case("T2-57-nixl-verbs", "SKIP", "cpu"),
    node_case("T2-57-nixl-verbs", "SKIP", "cuda", said=[UNASKED]),
    # Stand-ins that are to use verbs need what others need: this is how the lab's guests are examined.
    node_case("T2-09-net-devices", "PASS", "rxe"),
    node_case("T2-12-gid-index", "PASS", "rxe"),
    node_case("T2-57-nixl-verbs", "PASS", "rxe"),
    node_case("T2-09-net-devices", "FAIL", "rxe", DOWN),
    node_case("T2-10-verbs-devices", "FAIL", "rxe", ("uverbs0\tyes", "uverbs0\tno")),
    node_case(
        "T2-10-verbs-devices",
        "SKIP",
        "rxe",
        ("verbs\t/dev/infiniband/uverbs0\tyes\n", ""),
        ("port\t", "prot\t"),
    ),
    node_case("T2-57-nixl-verbs", "FAIL", "rxe", said=[LOST]),
]
PAIR_CASES: list[Case] = [
    ("T3-03-same-nixl", two(), "PASS"),
    ("T3-03-same-nixl", two(said=[OLD]), "FAIL"),
    ("T3-03-same-nixl", two(said=[seen("decode-0", ucx="1.21.0")]), "FAIL"),
    ("T3-03-same-nixl", two(said=[SILENT]), "SKIP"),
    ("T3-03-same-nixl", two(**UNKNOWN_PYTHON), "SKIP"),
    ("T3-05-nixl-transfer", two(), "PASS"),
    (
        "T3-05-nixl-transfer",
        two(talk=moved(wrong={"READ": "4096 of 8388608 bytes, the first at 0", "WRITE": None})),
        "FAIL",
    ),
    (
        "T3-05-nixl-transfer",
        two(talk=moved(error="nixlRemoteDisconnectError: NIXL_ERR_REMOTE_DISCONNECT")),
        "FAIL",
    ),
    ("T3-05-nixl-transfer", two(talk=talker(transfer=[reported(MOVED, LOG), GONE])), "WARN"),
    ("T3-05-nixl-transfer", two(**UNKNOWN_PYTHON), "SKIP"),
    ("T3-05-nixl-transfer", two(said=[OLD]), "SKIP"),
    ("T3-05-nixl-transfer", two(DOWN), "SKIP"),
    ("T3-05-nixl-transfer", two(said=[LOST]), "SKIP"),
    ("T3-05-nixl-transfer", two(**TCP_ONLY), "SKIP"),
    ("T3-08-rdma-in-use", two(), "PASS"),
    ("T3-08-rdma-in-use", two(talk=moved(TRANSFER_TCP)), "FAIL"),
    ("T3-08-rdma-in-use", two(**TCP_ONLY), "FAIL"),
    ("T3-08-rdma-in-use", two(talk=moved("")), "SKIP"),
    ("T3-08-rdma-in-use", two(**UNKNOWN_PYTHON), "SKIP"),
    ("T3-12-rdma-ping", two(), "PASS"),
    ("T3-12-rdma-ping", two(talk=ping(1, "Failed to modify QP to RTR\n")), "FAIL"),
    ("T3-12-rdma-ping", two(talk=ping(124, "")), "FAIL"),
    (
        "T3-12-rdma-ping",
        two(talk=talker(ping=[reported({"missing": False}), reported({"missing": True})])),
        "SKIP",
    ),
    ("T3-12-rdma-ping", two(talk=talker(ping=[NO_LISTENER, GONE])), "WARN"),
    ("T3-12-rdma-ping", two(DOWN), "SKIP"),
    ("T3-12-rdma-ping", two(**PLAIN_TCP), "SKIP"),
    ("T3-16-side-channel", two(), "PASS"),
    (
        "T3-16-side-channel",
        two(talk=talker(channel=[reported({"listening": "taken", "connected": None})] * 2)),
        "PASS",
    ),
    ("T3-16-side-channel", two(talk=talker(channel=DROPPED)), "FAIL"),
    ("T3-16-side-channel", two(talk=talker(channel=CANNOT)), "FAIL"),
    ("T3-16-side-channel", two(talk=talker(channel=[NO_LISTENER, GONE])), "WARN"),
    ("T3-16-side-channel", two(talk=talker(channel=[NO_LISTENER, NO_LISTENER])), "WARN"),
    ("T3-16-side-channel", two(("address\t192.0.2.20\n", "")), "SKIP"),
    ("T3-40-bandwidth", two(), "PASS"),
    ("T3-40-bandwidth", two(talk=moved(mb_s={"WRITE": 9660.5, "READ": 112.4})), "FAIL"),
    ("T3-05-nixl-transfer", two(kind="rxe"), "PASS"),
    ("T3-08-rdma-in-use", two(kind="rxe", talk=moved(TRANSFER_RXE)), "PASS"),
    ("T3-12-rdma-ping", two(kind="rxe"), "PASS"),
    ("T3-40-bandwidth", two(kind="rxe"), "SKIP"),
    ("T3-40-bandwidth", two(SOFT), "SKIP"),
    ("T3-40-bandwidth", two(engines=with_env("rxe", UCX_NET_DEVICES="mlx5_0:1")), "SKIP"),
    ("T3-40-bandwidth", two(talk=moved(mb_s=None, error="RuntimeError: READ ended as ERR")), "SKIP"),
    ("T3-40-bandwidth", two(**UNKNOWN_PYTHON), "SKIP"),
    ("T3-58-clock-skew", two(), "PASS"),
    ("T3-58-clock-skew", two(LATER), "WARN"),
    ("T3-58-clock-skew", two(("clock\t1795376000.1\n", "")), "SKIP"),
    ("T3-60-same-model", two(), "PASS"),
    ("T3-60-same-model", two(OTHER_MODEL), "FAIL"),
    ("T3-60-same-model", two(("model_is\t0a1b2c3d4e5f\n", "")), "SKIP"),
    ("T3-59-tcp-patience", two(), "SKIP"),
    ("T3-59-tcp-patience", two(**PLAIN_TCP), "PASS"),
    ("T3-59-tcp-patience", two(PATIENT, **PLAIN_TCP), "WARN"),
    ("T3-59-tcp-patience", two(("tcp_retries\t8\n", ""), **PLAIN_TCP), "SKIP"),
]
