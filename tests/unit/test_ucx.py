"""UCX_TLS and UCX_NET_DEVICES are read as UCX 1.23 was seen to read them (ucp_init, where only tcp is)."""

from __future__ import annotations

import pytest

from heteropd import ucx


@pytest.mark.parametrize(
    ("value", "allowed", "left_out"),
    [
        (None, ["tcp", "rc_mlx5", "cuda_copy"], []),
        ("all", ["tcp", "rc_mlx5", "cuda_copy"], []),
        ("^all", ["tcp"], []),  # UCX looks at the first word only, whatever stands before it
        ("rc,cuda", ["rc_verbs", "rc_mlx5", "cuda_copy", "cuda_ipc", "gdr_copy"], ["tcp", "ud_verbs"]),
        ("ib", ["rc_verbs", "ud_mlx5", "dc_mlx5"], ["tcp", "cuda_copy"]),
        ("rc", ["rc_verbs", "rc_mlx5"], ["ud_verbs", "dc_mlx5"]),
        ("rc_v", ["rc_verbs"], ["rc_mlx5", "ud_verbs"]),
        ("ud", ["ud_verbs", "ud_mlx5"], ["rc_verbs"]),
        ("dc", ["dc_mlx5"], ["rc_mlx5", "ud_mlx5"]),
        ("gaudi,sm", ["gaudi_gdr", "cma", "posix"], ["self", "tcp"]),
        ("\\rc_verbs,self", ["rc_verbs", "self"], ["rc_mlx5"]),
        ("\\rc,self", ["self"], ["rc_verbs", "rc_mlx5"]),  # an alias is no transport's name
        ("rc:aux,self", ["self"], ["rc_verbs"]),
        ("^tcp", ["rc_verbs", "cuda_copy", "sysv"], ["tcp"]),
        ("^tcp,sm", ["rc_verbs", "self"], ["tcp", "cma", "posix"]),
        ("^ud:aux", ["ud_verbs", "tcp"], []),
        ("tcp, self", ["tcp"], ["self"]),  # WARN transport ' self' is not available
        (" tcp,self", ["self"], ["tcp"]),
        ("tcp,,self,", ["tcp", "self"], [""]),
        ("tcp,all", ["tcp"], ["self", "rc_verbs"]),
        ("", [], ["tcp", "self"]),
    ],
)
def test_what_ucx_tls_allows(value: str | None, allowed: list[str], left_out: list[str]) -> None:
    named = ucx.transports({} if value is None else {"UCX_TLS": value})
    assert [name for name in allowed if not named.allows(name)] == []
    assert [name for name in left_out if named.allows(name)] == []


@pytest.mark.parametrize(
    ("value", "names", "may_use"),
    [
        (None, False, True),
        ("rc,self", True, True),
        ("\\rc_verbs,self", True, True),
        ("dc_x,cuda", True, True),
        ("tcp,cuda_copy", False, False),
        ("^tcp", False, True),
        ("^ib", False, False),
    ],
)
def test_whether_rdma_is_named_and_may_be_used(value: str | None, names: bool, may_use: bool) -> None:
    named = ucx.transports({} if value is None else {"UCX_TLS": value})
    assert (named.names_rdma, named.may_use_rdma) == (names, may_use)


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        (None, ()),
        ("all", ()),
        ("mlx5_0:1,all", ()),
        ("^mlx5_0:1", ()),
        ("mlx5_0:1", ("mlx5_0:1",)),
        ("mlx5_0:1,,eth0,mlx5_0:1", ("mlx5_0:1", "eth0")),
        ("mlx5_0:1, eth0", ("mlx5_0:1", " eth0")),  # WARN network device ' eth0' is not available
    ],
)
def test_devices_that_must_be_there(value: str | None, devices: tuple[str, ...]) -> None:
    assert ucx.net_devices({} if value is None else {"UCX_NET_DEVICES": value}) == devices


def test_kinds_of_names() -> None:
    assert [name for name in ("ib", "\\ud_x", "rc_verbs/rxe0:1", "tcp", " rc") if ucx.is_rdma(name)] == [
        "ib",
        "\\ud_x",
        "rc_verbs/rxe0:1",
    ]
    assert [name for name in ("cuda_ipc", "gaudi", "gdr_copy", "rc", "self") if ucx.is_of_device(name)] == [
        "cuda_ipc",
        "gaudi",
        "gdr_copy",
    ]
    assert ucx.names_for("rc_verbs") == ["rc_verbs", "ib", "rc_v", "rc"]
