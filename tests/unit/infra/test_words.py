"""`make infra` on hosts: which connections words mean, which suites each gets, and what is refused."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

import heteropd.plan
from heteropd.config.machine import Machine
from heteropd.containers.lifecycle import ContainerRef
from heteropd.errors import BadInput, KitError, MissingPrerequisite
from heteropd.infra import command
from heteropd.infra.command import InfraOptions
from heteropd.infra.subjects import Subjects
from heteropd.plan.model import Plan
from heteropd.processes.identity import Identity, boot_id, identify
from heteropd.system import LocalRunner
from heteropd.topology import Context, Topology
from heteropd.topology.state import RoleState, save
from plan_words import arguments, make

ROOT = Path(__file__).parents[3]
EXAMPLE = f"hosts={ROOT / 'env/hosts/example.yaml'}"
GUESTS = """\
hosts:
  one: {address: 192.0.2.2, ssh: one}
  two: {address: 192.0.2.3, ssh: root@two}
platforms: {cuda: one, gaudi: two}
standin: true
roles: {prefill: {env: {UCX_TLS: "rc,self"}}}
"""


def planned(*words: str) -> Plan:
    return make([*words], ROOT, Machine(cores=[0, 1]))


def topology(plan: Plan, dead: Sequence[str] = ()) -> Topology:
    """A topology whose processes are this one; its containers are of an engine that is not there."""
    docker = plan.runtime == "docker"
    me, gone = identify(os.getpid()), Identity(2**22 + 1, 1, boot_id())
    roles = [
        RoleState(
            name=role.name,
            log=Path("log"),
            process=None if docker else gone if role.name in dead else me,
            container=ContainerRef(id="1", name=f"box-{role.name}", docker_host="unix:///x")
            if docker
            else None,
        )
        for role in plan.roles
    ]
    return Topology(
        id="x",
        phase="up",
        boot_id=boot_id(),
        fingerprint=plan.fingerprint(),
        created=datetime.now(UTC),
        plan=plan,
        roles=roles,
        docker_hosts=["unix:///x"] if docker else [],
    )


def options(*words: str) -> InfraOptions:
    """As the verb reads them: with dashes, `hosts` is testinfra's word."""
    given = arguments("infra", *words)
    names = {field.name for field in fields(InfraOptions)} & set(given)
    return InfraOptions(everything=given["all"], **{name: given[name] for name in names})


def chosen(wanted: Plan | None, running: Topology | None, *words: str) -> Subjects:
    return command.choose(wanted, running, options(*words))


def suites(found: Subjects) -> dict[str, list[str]]:
    return {one.connection: one.suites(found.plan) for one in found.subjects}


@pytest.fixture(scope="module")
def local() -> Plan:
    return planned("case1")


@pytest.fixture(scope="module")
def racks() -> Plan:
    return planned("case1", EXAMPLE)


def test_without_words_the_running_topology(local: Plan) -> None:
    found = chosen(None, topology(local))
    assert suites(found) == {"local://": ["hosts", "topology"]}
    assert found.subjects[0].roles == ["prefill-0", "decode-0", "router"]
    assert found.subjects[0].pids == dict.fromkeys(found.subjects[0].roles, os.getpid())


def test_a_role_that_has_died_is_looked_for_all_the_same(local: Plan) -> None:
    [one] = chosen(None, topology(local, dead=["decode-0"])).subjects
    assert "decode-0" in one.roles
    assert "decode-0" not in one.pids


def test_without_words_every_container() -> None:
    plan = planned("case1", "runtime=docker")
    found = chosen(None, topology(plan))
    assert suites(found) == {f"docker://box-{role.name}": ["hosts", "topology"] for role in plan.roles}
    assert [one.pids for one in found.subjects] == [{role.name: 1} for role in plan.roles]
    [decode] = chosen(None, topology(plan), "--hosts=docker://box-decode-0").subjects
    assert decode.roles == ["decode-0"]


def test_every_host_of_a_plan(racks: Plan) -> None:
    assert suites(chosen(racks, None)) == {
        "ssh://root@192.0.2.10": ["hosts", "fabric", "devices/cuda"],
        "ssh://root@192.0.2.20": ["hosts", "fabric", "devices/gaudi"],
        "ssh://root@192.0.2.30": ["hosts"],
    }


def test_engines_that_run_elsewhere_are_looked_at_when_asked(racks: Plan) -> None:
    found = suites(chosen(racks, None, "--running"))
    assert all(names[-1] == "topology" for names in found.values())


def test_a_topology_of_another_plan_lends_no_process(local: Plan, racks: Plan) -> None:
    assert all(not one.pids for one in chosen(racks, topology(local)).subjects)


def test_what_a_stand_in_needs_follows_from_its_ucx_tls(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yaml"
    file.write_text(GUESTS)
    found = chosen(planned("case1", f"hosts={file}", "runtime=docker"), None)
    assert suites(found) == {
        "ssh://one": ["hosts", "fabric"],
        "ssh://root@two": ["hosts"],
        "local://": ["hosts"],
    }
    assert found.folders == ["hosts", "fabric"]


@pytest.mark.parametrize(
    ("text", "host", "roles"),
    [
        ("ssh://192.0.2.10", "cuda-node", ["prefill-0"]),
        ("ssh://root@192.0.2.20", "gaudi-node", ["decode-0"]),
        ("ssh://proxy-node", "proxy-node", ["router"]),
        ("gaudi-node=local", "gaudi-node", ["decode-0"]),
        ("prefill-0=podman://engine", "cuda-node", ["prefill-0"]),
        ("decode-0=kubectl://pod?namespace=pd", "gaudi-node", ["decode-0"]),
    ],
)
def test_a_connection_and_the_host_it_reaches(racks: Plan, text: str, host: str, roles: list[str]) -> None:
    [one] = chosen(racks, None, f"--hosts={text}").subjects
    assert (one.host, one.roles) == (host, roles)


def test_the_only_host_of_a_plan_needs_no_name(local: Plan) -> None:
    [one] = chosen(local, None, "--hosts=ssh://box").subjects
    assert (one.host, one.runs) == ("local", False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hosts=telnet://a"], "--hosts: 'telnet://a': is not a connection; give local, ssh://HOST"),
        (["--hosts=env/hosts/mine.yaml"], "the hosts file of a plan is hosts=FILE"),
        (
            ["--hosts=ssh://elsewhere"],
            "may be any host of the plan; write NAME=ssh://elsewhere, where NAME is",
        ),
        (["--hosts=local"], "--hosts: 'local://': is not a host of the plan; write NAME=local://"),
        (["--hosts=rack-9=ssh://a"], "--hosts: 'rack-9': is neither a host nor a role of the plan"),
        (["--hosts=prefill-0=ssh://a,decode-0=ssh://a"], "'ssh://a': stands for more than one host or role"),
    ],
)
def test_connections_that_are_refused(racks: Plan, words: list[str], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        chosen(racks, None, *words)
    assert said in str(refused.value)


def test_nothing_runs_and_no_case_is_named() -> None:
    with pytest.raises(BadInput, match="no topology is running here; start one"):
        chosen(None, None, "--hosts=local")


class Terminal(LocalRunner):
    """Shows nothing: keeps what would be run, and the subjects that it would have read."""

    def __init__(self, status: int = 0) -> None:
        super().__init__()
        self.status, self.argv, self.env = status, [""], dict[str, str]()
        self.subjects: Subjects | None = None
        self.ssh_config = ""

    def show(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        self.argv, self.env = list(argv), dict(env or {})
        given = dict(word.partition("=")[::2] for word in argv if word.startswith("--"))
        self.subjects = Subjects.model_validate_json(Path(given["--subjects"]).read_text())
        self.ssh_config = Path(given["--ssh-config"]).read_text()
        return self.status


def run(words: list[str], tmp_path: Path, terminal: Terminal) -> int:
    context = Context(
        root=ROOT, console=Console(file=io.StringIO()), runner=terminal, state_dir=tmp_path / "state"
    )
    requested = arguments("infra", *words)["requested"]
    plan = heteropd.plan.make(requested, ROOT, Machine(cores=[0, 1])) if requested else None
    return command.run(plan, context, options(*words))


def test_the_command(tmp_path: Path) -> None:
    terminal, config = Terminal(), tmp_path / "ssh_config"
    config.touch()
    words = ["--hosts", "ssh://192.0.2.10,ssh://192.0.2.30", "case1", EXAMPLE, f"ssh_config={config}"]
    assert run([*words, "--strict", "--junit", "out.xml", "json=out.json"], tmp_path, terminal) == 0
    assert "--hosts=ssh://192.0.2.10,ssh://192.0.2.30" in terminal.argv
    assert terminal.ssh_config == f'BatchMode yes\nInclude "{config}"\n'
    assert {"--strict-facts", "--junit-xml=out.xml"} <= set(terminal.argv)
    assert "--json-facts=out.json" in terminal.argv
    assert terminal.argv[-3:] == ["tests/infra/hosts", "tests/infra/fabric", "tests/infra/devices/cuda"]
    assert terminal.subjects is not None
    assert [one.host for one in terminal.subjects.subjects] == ["cuda-node", "proxy-node"]


def test_the_environment_may_name_the_ssh_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, config = Terminal(), tmp_path / "ssh_config"
    config.touch()
    monkeypatch.setenv("HETEROPD_SSH_CONFIG", str(config))
    assert run(["--hosts", "ssh://192.0.2.10", "case1", EXAMPLE], tmp_path, terminal) == 0
    assert terminal.ssh_config == f'BatchMode yes\nInclude "{config}"\n'


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs the ssh program")
def test_ssh_reads_the_given_file_and_asks_nobody(tmp_path: Path) -> None:
    given, config = tmp_path / "given", tmp_path / "config"
    given.write_text("Host box\n  HostName 192.0.2.9\n  BatchMode no\n")
    config.write_text(command.ssh_config(given))
    told = subprocess.run(["ssh", "-G", "-F", config, "box"], capture_output=True, text=True, check=True)
    assert {"batchmode yes", "hostname 192.0.2.9"} <= set(told.stdout.splitlines())


def test_ssh_reads_its_usual_files_without_one() -> None:
    assert 'Include "~/.ssh/config"' in command.ssh_config(None)
    assert 'Include "/etc/ssh/ssh_config"' in command.ssh_config(None)


def test_what_a_case_runs_in_containers_is_asked_of_its_engine(tmp_path: Path) -> None:
    terminal, plan = Terminal(), planned("case1")
    state = topology(plan).model_copy(update={"docker_hosts": ["unix:///else/docker.sock"]})
    save(state, tmp_path / "state")
    assert run([], tmp_path, terminal) == 0
    assert terminal.env["DOCKER_HOST"] == "unix:///else/docker.sock"


def test_exit_statuses(tmp_path: Path) -> None:
    assert run(["case1"], tmp_path, Terminal(0)) == 0
    assert run(["case1"], tmp_path, Terminal(1)) == 1
    with pytest.raises(KitError, match="pytest ended with status 4"):
        run(["case1"], tmp_path, Terminal(4))


def test_an_ssh_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ssh_config: 'nowhere': is not a file"):
        run(["case1", "ssh_config=nowhere"], tmp_path, Terminal())


def test_an_environment_without_testinfra_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingPrerequisite, match="testinfra is not in this environment"):
        run(["case1"], tmp_path, Terminal())
