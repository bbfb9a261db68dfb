"""The verb `infra` on hosts: connections, one pytest over all of them, and its exit status."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from heteropd.containers import docker_host
from heteropd.containers.ssh_tunnel import SCHEME
from heteropd.doctor import reach
from heteropd.errors import BadInput
from heteropd.images import suites
from heteropd.infra import subjects
from heteropd.infra.subjects import Subjects
from heteropd.plan.model import Plan
from heteropd.topology import Context, Topology, load

_SSH_CONFIG = "ssh_config"
_PLUGINS = ("selection", "fixtures", "results")


@dataclass(frozen=True)
class InfraOptions:
    """How hosts are tested. ``on``: connections, parted by commas; ``running``: engines run there;
    ``strict``: a fact that cannot be had is a failure; ``everything``: list SKIPs, too;
    ``junit`` and ``json``: where results go."""

    on: str | None = None
    running: bool = False
    strict: bool = False
    everything: bool = False
    junit: str | None = None
    json: str | None = None
    ssh_config: str | None = None


def run(planned: Plan | None, context: Context, options: InfraOptions) -> int:
    """Test the hosts of a plan, or what runs; 0 or 1. Raises BadInput, MissingPrerequisite."""
    topology = _alive(context)
    tested = choose(planned, topology, options)
    suites.require_testinfra()
    config = ssh_config(reach.ssh_config(options.ssh_config))
    with tempfile.TemporaryDirectory(prefix="heteropd-infra-") as folder:
        file = Path(folder) / "subjects.json"
        file.write_text(tested.model_dump_json())
        file.with_name(_SSH_CONFIG).write_text(config)
        environ = {**context.environ, "DOCKER_HOST": _docker(topology)}
        return suites.run(argv(tested, file, options), "infra", environ, context.runner)


def choose(planned: Plan | None, topology: Topology | None, options: InfraOptions) -> Subjects:
    """What is tested: ``planned`` is the plan that is named, ``topology`` what runs. Raises BadInput."""
    plan = planned or (topology.plan if topology else None)
    if plan is None:
        fix = "start one (`make case1`), or name a case: make infra on=local case=case1"
        raise BadInput("command line", None, None, "no topology is running here", fix)
    started = topology is not None and plan.fingerprint() == topology.plan.fingerprint()
    # Containers of other hosts are seen from those hosts: testinfra asks one engine only.
    elsewhere = len(plan.roles_here) < len(plan.roles)
    known = subjects.running(topology) if topology is not None and started and not elsewhere else []
    runs = options.running or (started and (plan.runtime == "process" or elsewhere))
    if options.on is not None:
        chosen = subjects.named(options.on, plan, known, runs=runs)
    else:
        chosen = known or subjects.hosts(plan, runs=runs)
    connections = [subject.connection for subject in chosen]
    for connection in connections:
        if connections.count(connection) > 1:
            problem = "stands for more than one host or role"
            raise BadInput("command line", "--hosts", connection, problem, "give each its own connection")
    return Subjects(plan=plan, subjects=chosen)


def argv(tested: Subjects, file: Path, options: InfraOptions) -> list[str]:
    """The command that tests them: all suites that one of them needs; `selection` picks for each."""
    words = ["--tb=short", "-rN", *(word for name in _PLUGINS for word in ("-p", f"infra_facts.{name}"))]
    words.append(f"--subjects={file}")
    words.append(f"--hosts={','.join(subject.connection for subject in tested.subjects)}")
    words.append(f"--ssh-config={file.with_name(_SSH_CONFIG)}")
    words += ["--everything-facts"] if options.everything else []
    words += [f"--json-facts={options.json}"] if options.json else []
    return suites.argv(words, tested.folders, strict=options.strict, junit=options.junit)


def ssh_config(given: Path | None) -> str:
    """What ssh is to read: the file that was given, or its usual ones; it asks nobody for a password."""
    files = [str(given)] if given else ["~/.ssh/config", "/etc/ssh/ssh_config"]
    return "".join(f"{line}\n" for line in ("BatchMode yes", *(f'Include "{file}"' for file in files)))


def _alive(context: Context) -> Topology | None:
    topology = load(context)
    return topology if topology is not None and any(role.alive for role in topology.roles) else None


def _docker(topology: Topology | None) -> str:
    """The Docker that has the containers that are tested: the running topology's of this machine."""
    here = [url for url in (topology.docker_hosts if topology else []) if not url.startswith(SCHEME)]
    return here[0] if here else docker_host.address()
