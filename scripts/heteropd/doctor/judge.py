"""Which function answers which check of env/checks.yaml, and the findings that come of it."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from heteropd.config import yamlfile
from heteropd.config.checks import Checks, Tier, tier
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


def load(root: Path) -> Checks:
    """Load ``root/env/checks.yaml``. Raises BadInput."""
    return yamlfile.load(Checks, root / "env" / "checks.yaml", root)


def judge_host(host: ExaminedHost, checks: Checks) -> list[Finding]:
    """Every check of one host."""

    def answer(name: str) -> Outcome:
        if host.facts.trouble and name != _ANSWERS:
            return Outcome("SKIP", "the host's facts could not be read")
        return _where_needed(name, host.platforms, host.verbs, checks, lambda: HOST_CHECKS[name](host))

    return _findings("node", host.target.name, answer, checks)


def judge_pair(pair: ExaminedPair, checks: Checks) -> list[Finding]:
    """Every check of two hosts that exchange KV."""
    one, other = pair.hosts
    unread = next((host.target.name for host in pair.hosts if host.facts.trouble), None)

    def answer(name: str) -> Outcome:
        if unread:
            return Outcome("SKIP", f"the facts of {unread} could not be read")
        platforms, verbs = one.platforms | other.platforms, one.verbs or other.verbs
        return _where_needed(name, platforms, verbs, checks, lambda: PAIR_CHECKS[name](pair))

    return _findings("pair", f"{one.target.name} and {other.target.name}", answer, checks)


def judge_topology(running: Running, checks: Checks) -> list[Finding]:
    """Every check of a running topology."""
    engines = running.plan.engines
    platforms, verbs = {role.runs_on for role in engines}, any(EngineTarget(role).verbs for role in engines)

    def answer(name: str) -> Outcome:
        return _where_needed(name, platforms, verbs, checks, lambda: TOPOLOGY_CHECKS[name](running))

    return _findings("topology", f"{running.plan.case}, running", answer, checks)


def _where_needed(
    name: str, platforms: Iterable[str], verbs: bool, checks: Checks, look: Callable[[], Outcome]
) -> Outcome:
    runs_on, entry = frozenset(platforms), checks.checks[name]
    if verbs if entry.verbs else not runs_on.isdisjoint(entry.platforms):
        return look()
    if runs_on == {"router"}:
        return Outcome("SKIP", "no engine runs here, only the router")
    if runs_on == {"cpu"}:
        # What is absent is said all the same: nobody should have to guess what the hardware would need.
        absent = look() if entry.verbs else None
        lacks = absent.text if absent and absent.status == "FAIL" else "runs on cpu"
        return Outcome("SKIP", f"{lacks}: a stand-in does not need it")
    if entry.verbs:
        return Outcome("SKIP", "no engine here names RDMA in UCX_TLS")
    return Outcome("SKIP", f"not for {', '.join(sorted(runs_on))}")


def _findings(kind: Tier, place: str, answer: Callable[[str], Outcome], checks: Checks) -> list[Finding]:
    findings = []
    for name, entry in checks.checks.items():
        if tier(name) != kind:
            continue
        status, text = answer(name)
        finding = Finding(id=name, place=place, status=status, text=text)
        if finding.bad:
            finding = finding.model_copy(update={"fix": entry.fix, "threads": tuple(entry.threads)})
        findings.append(finding)
    return findings
