"""A topology whose state is elsewhere or lost, found again on its hosts: they know, the state is a cache."""

import base64
import binascii
import zlib
from collections import ChainMap
from collections.abc import Mapping

from pydantic import ValidationError

from heteropd.config.hosts import Hosts
from heteropd.containers import docker_host, lifecycle
from heteropd.containers.lifecycle import ContainerRef
from heteropd.errors import BadInput
from heteropd.plan.model import Plan
from heteropd.system import parallel_map
from heteropd.topology.context import Context
from heteropd.topology.state import Topology, load, save

Found = Mapping[ContainerRef, Mapping[str, str]]


def packed(plan: Plan) -> str:
    """A plan as a container's label. Plans hold no secrets."""
    return base64.b64encode(zlib.compress(plan.model_dump_json().encode())).decode()


def unpacked(label: str) -> Plan | None:
    """The plan of a label; None for one of another version of the kit."""
    try:
        return Plan.model_validate_json(zlib.decompress(base64.b64decode(label)))
    except (ValidationError, ValueError, binascii.Error, zlib.error):
        return None


def recover(hosts: Hosts, where: str, context: Context) -> Topology | None:
    """The recorded topology; without one, what containers on the hosts say, which is recorded then.

    None when there is neither. Raises BadInput when they belong to several topologies or to another version
    of the kit, MissingPrerequisite for a host that does not answer.
    """
    known = load(context.state_dir)
    if known is not None:
        return known
    urls = list(dict.fromkeys(docker_host.of_host(host) for host in hosts.hosts.values()))
    found: Found = dict(ChainMap(*parallel_map(lifecycle.find, urls)))
    if not found:
        return None
    topology = _topology(found, where, context)
    save(topology, context.state_dir)
    context.say(f"found {topology.plan.case} on the hosts of {where}")
    return topology


def _topology(found: Found, where: str, context: Context) -> Topology:
    ids = sorted({labels[lifecycle.TOPOLOGY] for labels in found.values()})
    if len(ids) > 1:
        owners = sorted({f"{row.get(lifecycle.OWNER)}:{row[lifecycle.STATE]}" for row in found.values()})
        problem = f"{len(ids)} topologies run on these hosts, started from {', '.join(owners)}"
        raise BadInput(where, "hosts", None, problem, "end them from there")
    plan = unpacked(next(iter(found.values())).get(lifecycle.PLAN, ""))
    if plan is None:
        problem = "what runs on these hosts was started by another version of the kit"
        raise BadInput(where, "hosts", None, problem, "use that version")
    refs = {labels[lifecycle.ROLE]: ref for ref, labels in found.items()}
    return Topology.of(plan, ids[0], context, refs)
