"""What is tested: connections of testinfra, and which host and roles of a plan each of them reaches."""

import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from heteropd import ucx
from heteropd.errors import BadInput
from heteropd.plan.model import Plan, RolePlan
from heteropd.topology import Topology

LOCAL = "local://"
_CONNECTION = re.compile(
    r"(?:(?P<name>[a-z0-9][a-z0-9._-]*)=)?(?P<to>local|(?:ssh|docker|podman|kubectl)://.+|local://)"
)
_FORMS = "local, ssh://HOST, docker://NAME, podman://NAME or kubectl://POD"


class Subject(BaseModel):
    """One connection. ``runs``: its roles are started, so that their processes can be looked at.

    ``pids`` are those that are known; the others are found by the port that they listen on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection: str
    host: str = Field(description="Name of the plan's host")
    roles: list[str]
    runs: bool = False
    pids: dict[str, int] = Field(default_factory=dict)

    @property
    def container(self) -> bool:
        """Whether it is a container: what runs in it is that role and nothing else."""
        return self.connection.startswith(("docker://", "podman://", "kubectl://"))

    def planned(self, plan: Plan) -> list[RolePlan]:
        """Its roles, as planned."""
        return [role for role in plan.roles if role.name in self.roles]

    def suites(self, plan: Plan) -> list[str]:
        """Folders of tests/infra that are for it."""
        engines = [role for role in self.planned(plan) if role.role != "router"]
        names = ["hosts"]
        if any(ucx.transports(engine.env).names_rdma for engine in engines):
            names.append("fabric")
        names += sorted({f"devices/{engine.runs_on}" for engine in engines if engine.runs_on != "cpu"})
        return [*names, *(["topology"] if self.runs else [])]


class Subjects(BaseModel):
    """All of them, with the plan that their facts are compared with; handed to pytest as a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: Plan
    subjects: list[Subject]

    @property
    def folders(self) -> list[str]:
        """Every suite that some subject needs, in the order in which they run."""
        return list(dict.fromkeys(name for subject in self.subjects for name in subject.suites(self.plan)))


def running(topology: Topology) -> list[Subject]:
    """The topology as it runs: this machine with every process of it, or each of its containers."""
    plan = topology.plan
    if plan.runtime == "docker":
        return [
            # The role's program is the container's first process.
            _of(plan, role.name, f"docker://{role.container.name}", {role.name: 1})
            for role in topology.roles
            if role.container is not None
        ]
    pids = {role.name: role.process.pid for role in topology.roles if role.process and role.alive}
    roles = [role.name for role in plan.roles]
    return [Subject(connection=LOCAL, host=plan.router.host.name, roles=roles, runs=True, pids=pids)]


def hosts(plan: Plan, *, runs: bool) -> list[Subject]:
    """Every host of a plan, this machine or over ssh."""
    names = dict.fromkeys(role.host.name for role in plan.roles)
    return [_host(plan, name, None, runs) for name in names]


def named(text: str, plan: Plan, known: Iterable[Subject], *, runs: bool) -> list[Subject]:
    """Subjects for ``[NAME=]CONNECTION,…``. ``known``: those of the running topology.

    Raises BadInput for what is not a connection, and where a plan of several hosts leaves open
    which it is.
    """
    by_connection = {subject.connection: subject for subject in known}
    chosen = []
    for word in text.split(","):
        match = _CONNECTION.fullmatch(word.strip())
        if match is None:
            fix = f"give {_FORMS}; the hosts file of a plan is hosts=FILE"
            raise BadInput("command line", "--hosts", word, "is not a connection", fix)
        connection = LOCAL if match["to"] in ("local", LOCAL) else match["to"]
        if match["name"] is None and connection in by_connection:
            chosen.append(by_connection[connection])
        else:
            chosen.append(_at(match["name"] or _host_of(connection, plan), connection, plan, runs))
    return chosen


def _at(name: str, connection: str, plan: Plan, runs: bool) -> Subject:
    if any(role.name == name for role in plan.roles):
        return _of(plan, name, connection, {}, runs=runs)
    if any(role.host.name == name for role in plan.roles):
        return _host(plan, name, connection, runs)
    raise BadInput(
        "command line", "--hosts", name, "is neither a host nor a role of the plan", _choices(plan)
    )


def _host_of(connection: str, plan: Plan) -> str:
    """The plan's host that a connection reaches: the only one, or the one with this ssh destination."""
    places = {role.host.name: role.host.ssh for role in plan.roles}
    if len(places) == 1:
        return next(iter(places))
    kind, _, target = connection.partition("://")
    fitting = [
        name
        for name, ssh in places.items()
        if (kind == "local" and ssh is None)
        or (kind == "ssh" and ssh is not None and target in (ssh, ssh.rpartition("@")[2], name))
    ]
    if len(fitting) != 1:
        problem = "may be any host of the plan" if kind != "local" else "is not a host of the plan"
        raise BadInput("command line", "--hosts", connection, problem, _choices(plan, connection))
    return fitting[0]


def _choices(plan: Plan, connection: str = "CONNECTION") -> str:
    names = [*dict.fromkeys(role.host.name for role in plan.roles), *(role.name for role in plan.roles)]
    return f"write NAME={connection}, where NAME is one of: {', '.join(names)}"


def _host(plan: Plan, name: str, connection: str | None, runs: bool) -> Subject:
    roles = [role for role in plan.roles if role.host.name == name]
    ssh = roles[0].host.ssh
    reach = connection or (f"ssh://{ssh}" if ssh else LOCAL)
    return Subject(connection=reach, host=name, roles=[role.name for role in roles], runs=runs)


def _of(plan: Plan, role: str, connection: str, pids: dict[str, int], *, runs: bool = True) -> Subject:
    host = next(each.host.name for each in plan.roles if each.name == role)
    return Subject(connection=connection, host=host, roles=[role], runs=runs, pids=pids)
