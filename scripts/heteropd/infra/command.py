"""The verb `infra` on hosts: connections, one pytest over all of them, and its exit status."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heteropd.containers import docker_host
from heteropd.containers.ssh_tunnel import SCHEME
from heteropd.doctor import reach
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput, KitError, MissingPrerequisite
from heteropd.infra import subjects
from heteropd.infra.subjects import Subjects
from heteropd.plan.model import Plan
from heteropd.system import own_python
from heteropd.topology import Context, Topology, load

SUITES = "tests/infra"
_SSH_CONFIG = "ssh_config"
_PLUGINS = ("selection", "fixtures", "results")
# pytest: 1 is tests that failed; everything above is pytest itself that could not go on.
_TESTS_FAILED = 1


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
    if importlib.util.find_spec("testinfra") is None:
        raise MissingPrerequisite("testinfra is not in this environment", "run `make infra`, which has it")
    config = ssh_config(reach.ssh_config(options.ssh_config))
    with tempfile.TemporaryDirectory(prefix="heteropd-infra-") as folder:
        file = Path(folder) / "subjects.json"
        file.write_text(tested.model_dump_json())
        file.with_name(_SSH_CONFIG).write_text(config)
        status = context.runner.show(argv(tested, file, options), env=_environ(context, topology))
    if status > _TESTS_FAILED:
        raise KitError(f"infra: pytest ended with status {status}; see its output above")
    return EXIT_FAILED if status else EXIT_OK


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
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "-rN"]
    command += [word for name in _PLUGINS for word in ("-p", f"infra_facts.{name}")]
    command.append(f"--subjects={file}")
    command.append(f"--hosts={','.join(subject.connection for subject in tested.subjects)}")
    command.append(f"--ssh-config={file.with_name(_SSH_CONFIG)}")
    command += ["--strict-facts"] if options.strict else []
    command += ["--everything-facts"] if options.everything else []
    command += [f"--junit-xml={options.junit}"] if options.junit else []
    command += [f"--json-facts={options.json}"] if options.json else []
    return [*command, *(f"{SUITES}/{name}" for name in tested.folders)]


def ssh_config(given: Path | None) -> str:
    """What ssh is to read: the file that was given, or its usual ones; it asks nobody for a password."""
    files = [str(given)] if given else ["~/.ssh/config", "/etc/ssh/ssh_config"]
    return "".join(f"{line}\n" for line in ("BatchMode yes", *(f'Include "{file}"' for file in files)))


def _alive(context: Context) -> Topology | None:
    topology = load(context)
    return topology if topology is not None and any(role.alive for role in topology.roles) else None


def _environ(context: Context, topology: Topology | None) -> Mapping[str, str]:
    """testinfra asks containers through the docker program, which must reach the same engine. The suites'
    plugins are in tests/infra_facts."""
    here = [url for url in (topology.docker_hosts if topology else []) if not url.startswith(SCHEME)]
    environ = own_python({**os.environ, **context.environ})
    path = os.pathsep.join([environ["PYTHONPATH"], str(context.root / "tests")])
    return {**environ, "PYTHONPATH": path, "DOCKER_HOST": here[0] if here else docker_host.address()}
