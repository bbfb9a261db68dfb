"""Which function answers which check of env/checks.yaml, and the findings that come of it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from heteropd.config import yamlfile
from heteropd.config.checks import CheckEntry, Checks
from heteropd.doctor import (
    accelerators,
    container_checks,
    fabric,
    host_checks,
    pair_checks,
    software,
    topology_checks,
)
from heteropd.doctor.model import EngineTarget, ExaminedHost, ExaminedPair, Outcome, Running
from heteropd.findings import Finding

HOST_CHECKS: Mapping[str, Callable[[ExaminedHost], Outcome]] = {
    "T2-04-one-ucx": software.one_ucx,
    "T2-05-nixl-ucx": software.nixl_ucx,
    "T2-07-transports": software.transports,
    "T2-09-net-devices": fabric.net_devices,
    "T2-10-verbs-devices": fabric.verbs_devices,
    "T2-11-memlock": fabric.memlock,
    "T2-12-gid-index": fabric.planned_gid,
    "T2-12-roce-gid": fabric.roce_gid,
    "T2-13-gpudirect": fabric.gpudirect,
    "T2-14-accel-devices": accelerators.accel_devices,
    "T2-15-card-untouched": software.card_untouched,
    "T2-16-side-channel-address": host_checks.side_channel_address,
    "T2-18-ports-free": host_checks.ports_free,
    "T2-35-accelerator-free": accelerators.accelerator_free,
    "T2-50-host-answers": host_checks.host_answers,
    "T2-51-accelerator-answers": accelerators.accelerator_answers,
    "T2-52-memory": host_checks.memory,
    "T2-53-disk": host_checks.disk,
    "T2-54-shared-memory": host_checks.shared_memory,
    "T2-55-model": host_checks.model,
    "T2-57-nixl-verbs": software.nixl_verbs,
    "T2-61-planned-devices": accelerators.planned_devices,
    "T2-62-docker": container_checks.docker,
    "T2-63-container-runtime": container_checks.container_runtime,
    "T2-64-driver": container_checks.driver,
}
PAIR_CHECKS: Mapping[str, Callable[[ExaminedPair], Outcome]] = {
    "T3-03-same-nixl": pair_checks.same_nixl,
    "T3-05-nixl-transfer": pair_checks.nixl_transfer,
    "T3-08-rdma-in-use": pair_checks.rdma_in_use,
    "T3-09-link-layer": pair_checks.link_layer,
    "T3-12-rdma-ping": pair_checks.rdma_ping,
    "T3-16-side-channel": pair_checks.side_channel,
    "T3-40-bandwidth": pair_checks.bandwidth,
    "T3-56-mtu": pair_checks.mtu,
    "T3-58-clock-skew": pair_checks.clock_skew,
    "T3-59-tcp-patience": pair_checks.tcp_patience,
    "T3-60-same-model": pair_checks.same_model,
}
TOPOLOGY_CHECKS: Mapping[str, Callable[[Running], Outcome]] = {
    "T4-08-transport": topology_checks.transport,
    "T4-24-conversion": topology_checks.conversion,
    "T4-30-expired": topology_checks.expired,
    "T4-31-kv-moved": topology_checks.kv_moved,
    "T4-32-short-prompts": topology_checks.short_prompts,
    "T4-33-restarted": topology_checks.restarted,
    "T4-34-roles": topology_checks.roles,
    "T4-65-load-failures": topology_checks.load_failures,
    "T4-66-kv-errors": topology_checks.kv_errors,
}
_ANSWERS = "T2-50-host-answers"
Examined = TypeVar("Examined")


def load(root: Path) -> Checks:
    """Load ``root/env/checks.yaml``. Raises BadInput."""
    return yamlfile.load(Checks, root / "env" / "checks.yaml", root)


class _Where(NamedTuple):
    """What is judged, what runs there, whether RDMA is wanted, why nothing is known of it, and whether it is
    a container."""

    place: str
    platforms: frozenset[str]
    verbs: bool
    unread: str | None = None
    container: bool = False


def judge_host(host: ExaminedHost, checks: Checks) -> list[Finding]:
    """Every check of one host."""
    unread = "the host's facts could not be read" if host.facts.trouble else None
    where = _Where(host.target.name, host.platforms, host.verbs, unread, bool(host.target.container))
    return _findings(HOST_CHECKS, host, where, checks)


def judge_pair(pair: ExaminedPair, checks: Checks) -> list[Finding]:
    """Every check of two hosts that exchange KV."""
    one, other = pair.hosts
    place, platforms = f"{one.target.name} and {other.target.name}", one.platforms | other.platforms
    unread = next((host.target.name for host in pair.hosts if host.facts.trouble), None)
    why = f"the facts of {unread} could not be read" if unread else None
    return _findings(PAIR_CHECKS, pair, _Where(place, platforms, one.verbs or other.verbs, why), checks)


def judge_topology(running: Running, checks: Checks) -> list[Finding]:
    """Every check of a running topology."""
    engines = [EngineTarget(role) for role in running.plan.engines]
    platforms = frozenset(engine.role.runs_on for engine in engines)
    where = _Where(f"{running.plan.case}, running", platforms, any(engine.verbs for engine in engines))
    return _findings(TOPOLOGY_CHECKS, running, where, checks)


def _findings(
    table: Mapping[str, Callable[[Examined], Outcome]], examined: Examined, where: _Where, checks: Checks
) -> list[Finding]:
    findings = []
    for name, entry in checks.checks.items():
        if name not in table:
            continue
        if where.unread and name != _ANSWERS:
            status, text = Outcome("SKIP", where.unread)
        else:
            status, text = _where_needed(partial(table[name], examined), where, entry)
        finding = Finding(id=name, place=where.place, status=status, text=text)
        if finding.bad:
            fix = (entry.fix_container if where.container else "") or entry.fix
            finding = finding.model_copy(update={"fix": fix, "threads": tuple(entry.threads)})
        findings.append(finding)
    return findings


def _where_needed(look: Callable[[], Outcome], where: _Where, entry: CheckEntry) -> Outcome:
    if where.verbs if entry.verbs else not where.platforms.isdisjoint(entry.platforms):
        return look()
    if where.platforms == {"router"}:
        return Outcome("SKIP", "no engine runs here, only the router")
    if where.platforms == {"cpu"}:
        # What is absent is said all the same: nobody should have to guess what the hardware would need.
        absent = look() if entry.verbs else None
        lacks = absent.text if absent and absent.status == "FAIL" else "runs on cpu"
        return Outcome("SKIP", f"{lacks}: a stand-in does not need it")
    if entry.verbs:
        return Outcome("SKIP", "no engine here names RDMA in UCX_TLS")
    return Outcome("SKIP", f"not for {', '.join(sorted(where.platforms))}")
