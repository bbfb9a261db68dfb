"""The verb `infra` on hosts: from words to connections, one pytest over all of them, and its exit status."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from heteropd.config.arguments import Arguments
from heteropd.config.images import IMAGE_NAMES
from heteropd.containers import docker_host
from heteropd.containers.ssh_tunnel import SCHEME
from heteropd.doctor import reach
from heteropd.errors import EXIT_FAILED, EXIT_OK, BadInput, KitError, MissingPrerequisite
from heteropd.infra import subjects
from heteropd.infra.subjects import Subjects
from heteropd.plan.model import Plan
from heteropd.topology import Context, Topology, load

SUITES = "tests/infra"
_IMAGE = re.compile(r"(--)?image([_-]ref)?(=|$)")
_OPTIONS = ("on", "ssh_config", "junit", "json", "case")
_SSH_CONFIG = "ssh_config"
_PLUGINS = ("selection", "fixtures", "results")
# pytest: 1 is tests that failed; everything above is pytest itself that could not go on.
_TESTS_FAILED = 1


def names_image(words: Sequence[str]) -> bool:
    """Whether the words ask for an image's tests, not for a host's."""
    return any(word in IMAGE_NAMES or _IMAGE.match(word) for word in words)


def run(words: list[str], make: Callable[[list[str]], Plan], context: Context) -> int:
    """Test hosts; 0 or 1. ``make`` plans the words of a case. Raises BadInput, MissingPrerequisite."""
    parsed = Arguments(
        [_as_on(word) for word in words], flags=("strict", "running", "everything"), options=_OPTIONS
    )
    case = [*([parsed.options["case"]] if "case" in parsed.options else []), *parsed.rest]
    topology = _alive(context)
    tested = choose(make(case) if case else None, topology, parsed)
    if importlib.util.find_spec("testinfra") is None:
        raise MissingPrerequisite("testinfra is not in this environment", "run `make infra`, which has it")
    config = ssh_config(reach.ssh_config(parsed.options.get("ssh_config")))
    with tempfile.TemporaryDirectory(prefix="heteropd-infra-") as folder:
        file = Path(folder) / "subjects.json"
        file.write_text(tested.model_dump_json())
        file.with_name(_SSH_CONFIG).write_text(config)
        status = context.runner.show(argv(tested, file, parsed), env=_environ(context, topology))
    if status > _TESTS_FAILED:
        raise KitError(f"infra: pytest ended with status {status}; see its output above")
    return EXIT_FAILED if status else EXIT_OK


def choose(planned: Plan | None, topology: Topology | None, parsed: Arguments) -> Subjects:
    """What the words mean: ``planned`` is the plan they name, ``topology`` what runs. Raises BadInput."""
    plan = planned or (topology.plan if topology else None)
    if plan is None:
        fix = "start one (`make case1`), or name a case: make infra on=local case=case1"
        raise BadInput("command line", None, None, "no topology is running here", fix)
    started = topology is not None and plan.fingerprint() == topology.plan.fingerprint()
    # Containers of other hosts are seen from those hosts: testinfra asks one engine only.
    elsewhere = len(plan.roles_here) < len(plan.roles)
    known = subjects.running(topology) if topology is not None and started and not elsewhere else []
    runs = "running" in parsed.flags or (started and (plan.runtime == "process" or elsewhere))
    if "on" in parsed.options:
        chosen = subjects.named(parsed.options["on"], plan, known, runs=runs)
    else:
        chosen = known or subjects.hosts(plan, runs=runs)
    connections = [subject.connection for subject in chosen]
    for connection in connections:
        if connections.count(connection) > 1:
            problem = "stands for more than one host or role"
            raise BadInput("command line", "--hosts", connection, problem, "give each its own connection")
    return Subjects(plan=plan, subjects=chosen)


def argv(tested: Subjects, file: Path, parsed: Arguments) -> list[str]:
    """The command that tests them: all suites that one of them needs; `selection` picks for each."""
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "-rN"]
    words += [word for name in _PLUGINS for word in ("-p", f"heteropd.infra.{name}")]
    words.append(f"--subjects={file}")
    words.append(f"--hosts={','.join(subject.connection for subject in tested.subjects)}")
    words.append(f"--ssh-config={file.with_name(_SSH_CONFIG)}")
    words += ["--strict-facts"] if "strict" in parsed.flags else []
    words += ["--everything-facts"] if "everything" in parsed.flags else []
    words += [f"--junit-xml={parsed.options['junit']}"] if "junit" in parsed.options else []
    words += [f"--json-facts={parsed.options['json']}"] if "json" in parsed.options else []
    return [*words, *(f"{SUITES}/{name}" for name in tested.folders)]


def ssh_config(given: Path | None) -> str:
    """What ssh is to read: the file that was given, or its usual ones; it asks nobody for a password."""
    files = [str(given)] if given else ["~/.ssh/config", "/etc/ssh/ssh_config"]
    return "".join(f"{line}\n" for line in ("BatchMode yes", *(f'Include "{file}"' for file in files)))


def _as_on(word: str) -> str:
    # `--hosts` is testinfra's word for connections, and hosts=FILE the plan's: here the dashes matter.
    return "--on" if word == "--hosts" else word.replace("--hosts=", "--on=", 1)


def _alive(context: Context) -> Topology | None:
    topology = load(context)
    return topology if topology is not None and any(role.alive for role in topology.roles) else None


def _environ(context: Context, topology: Topology | None) -> Mapping[str, str]:
    """testinfra asks containers through the docker program, which must reach the same engine."""
    here = [url for url in (topology.docker_hosts if topology else []) if not url.startswith(SCHEME)]
    return {**os.environ, **context.environ, "DOCKER_HOST": here[0] if here else docker_host.address()}
