"""A plugin of pytest: what tests of hosts ask for. A host is asked once for each fact."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest

from heteropd.config import yamlfile
from heteropd.config.checks import Checks, InfraFacts
from heteropd.config.env import Env
from heteropd.doctor import judge
from heteropd.doctor.examination import read_host
from heteropd.doctor.model import ExaminedHost
from heteropd.errors import BadInput
from heteropd.infra.subjects import Subject
from heteropd.plan.model import Plan, RolePlan
from infra_facts import expected, fabric, processes, reading, selection
from infra_facts.judge import NO_PROXY, PROXIES
from infra_facts.processes import ProcessTree

Once = Callable[[str, Callable[[], Any]], Any]
Unknown = Callable[[str], NoReturn]
_SEEN = pytest.StashKey[dict[tuple[str, str], Any]]()
_NO_SUCH_PROGRAM = 127
_AT_ONCE = 32


def not_needed(why: str) -> NoReturn:
    """Skip: the fact does not matter here, --strict or not."""
    pytest.skip(f"not needed: {why}")


def _at_once(read: Callable[[Any], ExaminedHost], hosts: Mapping[str, Any]) -> dict[str, ExaminedHost]:
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return dict(zip(hosts, pool.map(read, hosts.values()), strict=True))


@pytest.fixture(scope="session")
def facts(request: pytest.FixtureRequest) -> InfraFacts:
    """What env/infra.yaml says."""
    root = request.config.rootpath
    return yamlfile.load(InfraFacts, root / "env" / "infra.yaml", root)


@pytest.fixture(scope="session")
def checks(request: pytest.FixtureRequest) -> Checks:
    """What env/checks.yaml says."""
    return judge.load(request.config.rootpath)


@pytest.fixture(scope="session")
def plan(request: pytest.FixtureRequest) -> Plan:
    """The plan that hosts and engines are compared with."""
    return selection.tested(request.config).plan


@pytest.fixture
def subject(request: pytest.FixtureRequest, host: Any) -> Subject:
    """What this host is in the plan."""
    return selection.subject_of(host, request.config)


@pytest.fixture
def once(request: pytest.FixtureRequest, host: Any) -> Once:
    """Call it with a name and a function: its result, from the first time that this host was asked."""
    known, where = request.config.stash.setdefault(_SEEN, {}), host.backend.get_pytest_id()

    def ask(name: str, look: Callable[[], Any]) -> Any:
        if (where, name) not in known:
            known[where, name] = look()
        return known[where, name]

    return ask


@pytest.fixture(scope="session")
def all_examined(
    request: pytest.FixtureRequest, plan: Plan, env: Env, checks: Checks
) -> dict[str, ExaminedHost]:
    """Every host with the facts that the doctor reads; all of them at once."""

    def read(host: Any) -> ExaminedHost:
        return reading.examine(host, selection.subject_of(host, request.config), plan, env, checks.limits)

    return _at_once(read, selection.hosts(request.config))


@pytest.fixture(scope="session")
def all_with_nixl(
    request: pytest.FixtureRequest, all_examined: dict[str, ExaminedHost]
) -> dict[str, ExaminedHost]:
    """With what NIXL says where RDMA is named, started in the place of the engines; no card is opened."""

    def read(host: Any) -> ExaminedHost:
        examined = all_examined[host.backend.get_pytest_id()]
        if not examined.verbs:
            return examined
        return read_host(examined.target, reading.Through(host), examined.limits)

    return _at_once(read, selection.hosts(request.config))


@pytest.fixture
def examined(host: Any, all_examined: dict[str, ExaminedHost]) -> ExaminedHost:
    """The host with its facts."""
    return all_examined[host.backend.get_pytest_id()]


@pytest.fixture
def examined_nixl(host: Any, all_with_nixl: dict[str, ExaminedHost]) -> ExaminedHost:
    """The host with what its NIXL says."""
    return all_with_nixl[host.backend.get_pytest_id()]


@pytest.fixture(autouse=True)
def _reached(request: pytest.FixtureRequest, examined: ExaminedHost, unknown: Unknown) -> None:
    """Where a host does not answer, one test says why, and the others only that they could not look."""
    if examined.facts.trouble and request.node.originalname != "test_host_answers":
        unknown("the host does not answer")


@pytest.fixture
def doctor(examined: ExaminedHost, checks: Checks, unknown: Unknown) -> Callable[..., None]:
    """Call it with the id of a check of the doctor: passes, fails with its fix, or cannot be had."""

    def examine(name: str, of: ExaminedHost = examined) -> None:
        outcome = judge.HOST_CHECKS[name](of)
        if outcome.status == "FAIL":
            pytest.fail(f"{name}: {outcome.text}; fix: {checks.checks[name].fix}", pytrace=False)
        if outcome.status != "PASS":
            unknown(outcome.text)

    return examine


@pytest.fixture
def output(host: Any, unknown: Unknown, once: Once) -> Callable[..., str]:
    """Call it with a program and its arguments: what it prints."""

    def ask(*argv: str) -> str:
        done = once(" ".join(argv), lambda: reading.Through(host).run(argv))
        if done.code == _NO_SUCH_PROGRAM:
            unknown(f"{argv[0]} is not installed there")
        if done.code != 0:
            unknown(f"{argv[0]} ended with status {done.code}: {done.err.strip() or done.out.strip()}")
        return str(done.out)

    return ask


@pytest.fixture
def engine(role: RolePlan) -> RolePlan:
    """A role that is an engine: `selection` leaves the router out."""
    return role


@pytest.fixture
def ucx_offers(
    host: Any, examined: ExaminedHost, engine: RolePlan, output: Any, unknown: Unknown
) -> frozenset[str]:
    """Transports of the host's UCX: of the one that the plan lets the engine load, else the one on PATH."""
    if "gaudi" in examined.platforms and (examined.target.serves or examined.facts.holders):
        not_needed("an engine uses the card, and ucx_info -d would take it away (15)")
    if "gaudi" in examined.platforms and not examined.facts.root:
        unknown("only root sees whether an engine uses the card, which ucx_info -d would take away (15)")
    return fabric.offered_transports(output(reading.ucx_info(host, engine), "-d"))


@pytest.fixture
def process_tree(host: Any, subject: Subject, role: RolePlan, once: Once) -> ProcessTree:
    """The role's processes as they run; ``trouble`` says why nothing is known of them."""
    reader, pid, names = reading.Through(host), subject.pids.get(role.name), [*role.env, *PROXIES, *NO_PROXY]
    tree: ProcessTree = once(role.name, lambda: processes.read(reader, pid, role.ports.api, names))
    return tree


@pytest.fixture
def running(engine: RolePlan, process_tree: ProcessTree, unknown: Unknown) -> ProcessTree:
    """An engine's processes, where there are some."""
    if process_tree.trouble:
        unknown(f"the processes of {engine.name}: {process_tree.trouble}")
    return process_tree


@pytest.fixture
def python(host: Any, running: ProcessTree, unknown: Unknown) -> dict[str, Any]:
    """The engine's Python and its packages, as that Python says it."""
    program = (running.arguments or ("nothing",))[0]
    if not program.startswith("/"):
        unknown(f"the engine's Python: its command line begins with {program}")
    done = reading.Through(host).run([program, "-I", "-c", expected.PROGRAM])
    if done.code != 0:
        unknown(f"packages of {program}: {done.err.strip()[-200:]}")
    packages: dict[str, Any] = json.loads(done.out)
    return packages


@pytest.fixture
def locked(
    request: pytest.FixtureRequest, env: Env, engine: RolePlan, plan: Plan, python: dict[str, Any]
) -> dict[str, str]:
    """Versions that the pin set and its locks say for that Python, by package."""
    try:
        return expected.versions(engine, plan, env, request.config.rootpath, python)
    except BadInput as unlocked:
        request.getfixturevalue("unknown")(f"which versions are right: {unlocked}")
        raise
