"""Engines and router as they run: read from their processes, never from a shell. Numbers: failure modes."""

from heteropd.doctor import targets
from heteropd.plan.engines import SIDE_CHANNEL_PORT
from heteropd.plan.rules.addresses import SIDE_CHANNEL_HOST
from infra_facts import expected, judge
from infra_facts.fixtures import not_needed

_WHO = "be root, or the user it runs as"


def test_role_runs_and_answers_on_its_port(process_tree, role, unknown):
    """A role that has died leaves a topology which still looks up: its peers answer, requests do not (34)."""
    assert not process_tree.trouble, process_tree.trouble
    if not process_tree.listening(role.ports.api) and process_tree.closed("listens"):
        unknown(f"the sockets of {', '.join(process_tree.closed('listens'))}: {_WHO}")
    assert process_tree.listening(role.ports.api), f"nothing of {role.name} listens on port {role.ports.api}"


def test_no_proxy_stands_between_the_roles(process_tree, role, plan, unknown, agree):
    """A proxy from Docker's client or the hosts file gets the router's health checks, and no peer answers."""
    if process_tree.trouble or process_tree.closed("variables"):
        unknown(f"the environment of {role.name}: {process_tree.trouble or _WHO}")
    agree(judge.proxied(process_tree, [peer.host.address for peer in plan.roles]))


def test_environment_is_the_plans(running, engine, unknown, agree):
    """UCX and vLLM read variables once, when they start; a shell says nothing of that (7, 25, 28)."""
    if running.closed("variables"):
        unknown(f"the environment of {', '.join(running.closed('variables'))}: {_WHO}")
    agree(judge.environment(running, engine.env))


def test_one_copy_of_each_library(running, facts, unknown, agree):
    """Two UCX or NIXL in one process end in version errors or crashes, when the first request comes (4)."""
    if running.closed("libraries"):
        unknown(f"the libraries of {', '.join(running.closed('libraries'))}: {_WHO}")
    agree(judge.one_copy(running, facts.libraries))


def test_engine_may_lock_memory(running, engine, unknown, agree):
    """Registering memory for RDMA locks it; a service's and a container's limits are no shell's (11)."""
    if not targets.engine(engine).verbs:
        not_needed("UCX_TLS of this engine names no RDMA, and nothing else locks memory")
    if running.closed("memlock"):
        unknown(f"the limits of {', '.join(running.closed('memlock'))}")
    agree(judge.memlock(running))


def test_side_channel_listens_where_it_is_announced(running, engine, unknown, agree):
    """The decode asks for KV metadata at the announced address: elsewhere, nobody answers (16, 18)."""
    announced = engine.env.get(SIDE_CHANNEL_HOST, engine.host.address)
    port = int(engine.env.get(SIDE_CHANNEL_PORT, engine.ports.side_channel))
    if not running.listening(port) and running.closed("listens"):
        unknown(f"the sockets of {', '.join(running.closed('listens'))}: {_WHO}")
    agree(judge.side_channel(running, announced, port))


def test_packages_of_the_engine_are_locked(python, locked, agree):
    """A NIXL that drifted breaks the pair, a vLLM that drifted its plugin (2, 3, 27): look at what runs."""
    agree(judge.versions(expected.installed(python), locked))


def test_model_of_the_engine_is_there(host, running):
    """The engine read it when it started, the next start will again: it must still be there."""
    folder = judge.model(running.arguments)
    if folder is None:
        not_needed("the engine loads its model from a hub")
    assert host.file(f"{folder}/config.json").is_file, f"{folder} has no config.json"
