"""T3: two hosts' facts side by side, and what they sent to each other (`exchange`)."""

from collections.abc import Iterator

from heteropd import ucx
from heteropd.doctor import exchange, fabric
from heteropd.doctor.fabric import used_ports
from heteropd.doctor.model import ExaminedPair, Outcome, unknown_python
from heteropd.doctor.nixl import ProgramReport, complaint, generation, lanes

_LINK_LAYERS = {"Ethernet", "InfiniBand"}
Reports = tuple[ProgramReport, ProgramReport]


def same_nixl(pair: ExaminedPair) -> Outcome:
    """One major.minor of NIXL, and one of UCX."""
    found: list[dict[str, set[str]]] = []
    for host in pair.hosts:
        if not host.nixl:
            return Outcome("SKIP", unknown_python(host.target))
        versions = {
            "NIXL": {reading.nixl for reading in host.nixl if reading.nixl},
            "UCX": {reading.ucx for reading in host.nixl if reading.ucx},
        }
        if not all(versions.values()):
            return Outcome("SKIP", f"{host.target.name} did not say its versions")
        if unknown := [each for names in versions.values() for each in names if not generation(each)]:
            return Outcome("WARN", f"{host.target.name}: {', '.join(unknown)} is not a version")
        found.append(versions)
    one, other = ({name: set(map(generation, each)) for name, each in versions.items()} for versions in found)
    text = " and ".join(
        ", ".join(f"{name} {'/'.join(sorted(each))}" for name, each in versions.items()) for versions in found
    )
    return Outcome.judged(one == other, text)


def link_layer(pair: ExaminedPair) -> Outcome:
    """A link layer that both have."""
    found = [{port.link_layer for port in used_ports(host)} for host in pair.hosts]
    for host, layers in zip(pair.hosts, found, strict=True):
        if not layers:
            return Outcome("SKIP", f"no active port on {host.target.name}")
    text = " and ".join(", ".join(layer or "unknown" for layer in sorted(layers)) for layers in found)
    if not set.union(*found) <= _LINK_LAYERS:
        return Outcome("WARN", f"{text}: only {' and '.join(sorted(_LINK_LAYERS))} are known here")
    return Outcome.judged(bool(found[0] & found[1]), text)


def mtu(pair: ExaminedPair) -> Outcome:
    """Equal MTUs below RoCE. What an InfiniBand port uses is not in sysfs."""
    found = []
    for host in pair.hosts:
        ports = [port for port in used_ports(host) if port.link_layer == "Ethernet"]
        names = {gid.interface for port in ports for gid in port.gids} & host.facts.mtus.keys()
        if not names:
            return Outcome("SKIP", f"no RoCE interface in use on {host.target.name}")
        found.append({name: host.facts.mtus[name] for name in names})
    text = " and ".join(", ".join(f"{name} {size}" for name, size in sorted(mtus.items())) for mtus in found)
    return Outcome.judged(len({size for mtus in found for size in mtus.values()}) == 1, text)


def clock_skew(pair: ExaminedPair) -> Outcome:
    """How far apart two clocks are for sure: what the way to each host took is in doubt."""
    one, other = (host.facts.ahead for host in pair.hosts)
    if one is None or other is None:
        lacking = pair.hosts[0 if one is None else 1]
        return Outcome("SKIP", f"the clock of {lacking.target.name} could not be read")
    apart, most = max(one[0] - other[1], other[0] - one[1], 0.0), pair.hosts[0].limits.clock_skew_s
    return Outcome.judged(apart <= most, f"at least {apart:.1f} s apart, {most:g} s allowed", "WARN")


def tcp_patience(pair: ExaminedPair) -> Outcome:
    """Both kernels give a silent TCP connection up soon; of concern only where engines may use TCP."""
    if all(host.verbs for host in pair.hosts):
        return Outcome("SKIP", "the engines use RDMA, which gives up by itself")
    most, found = pair.hosts[0].limits.tcp_retries, []
    for host in pair.hosts:
        if host.facts.tcp_retries is None:
            return Outcome("SKIP", f"net.ipv4.tcp_retries2 of {host.target.name} could not be read")
        found.append((host.facts.tcp_retries, host.target.name))
    shown = ", ".join(f"{name} {retries}" for retries, name in found)
    text = f"net.ipv4.tcp_retries2: {shown}; {most} at most"
    return Outcome.judged(max(found)[0] <= most, text, "WARN")


def same_model(pair: ExaminedPair) -> Outcome:
    """Folders that hold the model on both hosts hold the same one."""
    one, other = (host.facts.model_is for host in pair.hosts)
    if one is None or other is None:
        return Outcome("SKIP", "the model is a folder that could be read on neither or only one of them")
    text = ", ".join(f"{host.target.name} {host.facts.model_is}" for host in pair.hosts)
    return Outcome.judged(one == other, text)


def side_channel(pair: ExaminedPair) -> Outcome:
    """Each host connects to the other's announced address and port."""
    reports = pair.channel
    if isinstance(reports, str):
        return Outcome("SKIP", reports)
    if silent := _silent(pair, reports):
        return Outcome("WARN", silent)
    bad, good = [], []
    for mine, theirs in ((0, 1), (1, 0)):
        target = pair.hosts[theirs].target
        engine, result = target.engines[0], reports[mine].result or {}
        end = f"{engine.address}:{engine.role.ports.side_channel} of {target.name}"
        way = f"{pair.hosts[mine].target.name} to {end}"
        listening = (reports[theirs].result or {})["listening"]
        if listening not in ("ours", "taken"):
            bad.append(f"{way}: {listening}")
        elif result["connected"]:
            bad.append(f"{way}: {result['connected']}")
        else:
            good.append(way)
    return Outcome.judged(not bad, "; ".join(bad or good))


def rdma_ping(pair: ExaminedPair) -> Outcome:
    """ibv_rc_pingpong ends well on both hosts."""
    reports = pair.ping
    if isinstance(reports, str):
        return Outcome("SKIP", reports)
    for name, report in _by_host(pair, reports):
        if (report.result or {}).get("missing"):
            return Outcome("SKIP", f"{name} has no ibv_rc_pingpong (package ibverbs-utils)")
    if silent := _silent(pair, reports):
        return Outcome("WARN", silent)
    ports = " and ".join(used_ports(host)[0].name for host in pair.hosts)
    for name, report in _by_host(pair, reports):
        result = report.result or {}
        if result["code"]:
            printed = " ".join(result["out"].split())[-200:]
            return Outcome("FAIL", f"{ports}: {name}: exit status {result['code']}: {printed}")
    return Outcome("PASS", ports)


def nixl_transfer(pair: ExaminedPair) -> Outcome:
    """WRITE and READ both ways, all bytes equal."""
    reports = pair.transfer
    if isinstance(reports, str):
        return Outcome("SKIP", reports)
    results = []
    for name, report in _by_host(pair, reports):
        if report.result is None:
            return Outcome("WARN", f"{name}: {report.trouble}")
        results.append((name, report.result, report.log))
    errors = [(name, result["error"], complaint(log)) for name, result, log in results if result["error"]]
    if errors:
        return Outcome("FAIL", "; ".join(f"{name}: {error}{why}" for name, error, why in errors))
    for name, result, _ in results:
        for kind, wrong in result["wrong"].items():
            if wrong:
                return Outcome("FAIL", f"{name}: bytes differ after {kind}: {wrong}")
    mib, _ = exchange.amount(*pair.hosts)
    return Outcome("PASS", f"{mib} MiB of host memory, WRITE and READ, both ways, all bytes equal")


def rdma_in_use(pair: ExaminedPair) -> Outcome:
    """The lanes of that transfer are RDMA, where RDMA is declared."""
    for host in pair.hosts:
        if wrong := fabric.without_rdma(host):
            return Outcome("FAIL", wrong)
    reports = pair.transfer
    if isinstance(reports, str):
        return Outcome("SKIP", reports)
    used = {lane for report in reports for lane in lanes(report.log)}
    if not used:
        return Outcome("SKIP", "UCX wrote no line that says it")
    shown = ", ".join(sorted(used))
    if any(host.verbs for host in pair.hosts):
        return Outcome.judged(all(map(ucx.is_rdma, used)), shown)
    if all(used_ports(host) for host in pair.hosts):
        return Outcome("WARN", f"{shown}, though both hosts have active RDMA ports")
    return Outcome("SKIP", f"no engine names RDMA in UCX_TLS: {shown}")


def bandwidth(pair: ExaminedPair) -> Outcome:
    """MB/s of that transfer against the floor, between cards."""
    if reason := exchange.without_speed(*pair.hosts):
        return Outcome("SKIP", reason)
    reports = pair.transfer
    if isinstance(reports, str):
        return Outcome("SKIP", reports)
    figures = [(report.result or {}).get("mb_s") for report in reports]
    if not all(figures):
        return Outcome("SKIP", "the transfer did not come to its end")
    least = min(each[kind] for each in figures if each for kind in ("WRITE", "READ"))
    floor = pair.hosts[0].limits.bandwidth_mb_s
    text = f"{least:,.0f} MB/s in the slower direction, host memory, {floor:,.0f} MB/s wanted"
    return Outcome.judged(least >= floor, text)


def _by_host(pair: ExaminedPair, reports: Reports) -> Iterator[tuple[str, ProgramReport]]:
    return zip((host.target.name for host in pair.hosts), reports, strict=True)


def _silent(pair: ExaminedPair, reports: Reports) -> str | None:
    """Why a program said nothing, or could not finish because the other did not."""
    for name, report in _by_host(pair, reports):
        if report.result is None:
            return f"{name}: {report.trouble}"
    for name, report in _by_host(pair, reports):
        if report.result and "error" in report.result:
            return f"{name}: {report.result['error']}"
    return None
