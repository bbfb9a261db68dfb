"""T3: what two hosts sent to each other: a connection, an RDMA ping, a transfer with its bytes compared."""

from __future__ import annotations

from heteropd import ucx
from heteropd.doctor import exchange, fabric
from heteropd.doctor.catalogue import PAIR, registered
from heteropd.doctor.model import ExaminedPair, Outcome
from heteropd.doctor.nixl import ProgramReport, complaint, lanes

_TRANSFERS = ("WRITE", "READ")


@registered(PAIR, "T3-16-side-channel")
def side_channel(pair: ExaminedPair) -> Outcome:
    """Each host connects to the other's announced address and port."""
    if isinstance(pair.seen.channel, str):
        return Outcome("SKIP", pair.seen.channel)
    if silent := _silent(pair, pair.seen.channel):
        return Outcome("WARN", silent)
    ends, said = (pair.one.target, pair.other.target), [one.found or {} for one in pair.seen.channel]
    bad, good = [], []
    for mine, theirs in ((0, 1), (1, 0)):
        engine = ends[theirs].engines[0]
        way = f"{ends[mine].name} to {engine.address}:{engine.side_channel} of {ends[theirs].name}"
        listening = said[theirs]["listening"]
        if listening not in ("ours", "taken"):
            bad.append(f"{way}: {listening}")
        elif said[mine]["connected"]:
            bad.append(f"{way}: {said[mine]['connected']}")
        else:
            good.append(way)
    return Outcome("FAIL", "; ".join(bad)) if bad else Outcome("PASS", "; ".join(good))


@registered(PAIR, "T3-12-rdma-ping")
def rdma_ping(pair: ExaminedPair) -> Outcome:
    """ibv_rc_pingpong ends well on both hosts."""
    if isinstance(pair.seen.ping, str):
        return Outcome("SKIP", pair.seen.ping)
    for node, said in zip((pair.one, pair.other), pair.seen.ping, strict=True):
        if (said.found or {}).get("missing"):
            return Outcome("SKIP", f"{node.target.name} has no ibv_rc_pingpong (package ibverbs-utils)")
    if silent := _silent(pair, pair.seen.ping):
        return Outcome("WARN", silent)
    ports = " and ".join(fabric.used_ports(node)[0].name for node in (pair.one, pair.other))
    for node, said in zip((pair.one, pair.other), pair.seen.ping, strict=True):
        found = said.found or {}
        if found["code"]:
            told = " ".join(found["out"].split())[-200:]
            return Outcome("FAIL", f"{ports}: {node.target.name}: exit status {found['code']}: {told}")
    return Outcome("PASS", ports)


@registered(PAIR, "T3-05-nixl-transfer")
def nixl_transfer(pair: ExaminedPair) -> Outcome:
    """WRITE and READ both ways, all bytes equal."""
    seen = pair.seen.transfer
    if isinstance(seen, str):
        return Outcome("SKIP", seen)
    for node, said in zip((pair.one, pair.other), seen, strict=True):
        if said.found is None and said.trouble:
            return Outcome("WARN", f"{node.target.name}: {said.trouble}")
    failed = [
        f"{node.target.name}: {(said.found or {})['error']}{complaint(said.log)}"
        for node, said in zip((pair.one, pair.other), seen, strict=True)
        if (said.found or {})["error"]
    ]
    if failed:
        return Outcome("FAIL", "; ".join(failed))
    for node, said in zip((pair.one, pair.other), seen, strict=True):
        for kind, wrong in (said.found or {})["wrong"].items():
            if wrong:
                return Outcome("FAIL", f"{node.target.name}: bytes differ after {kind}: {wrong}")
    mib, _ = exchange.amount(pair.one, pair.other)
    return Outcome("PASS", f"{mib} MiB of host memory, WRITE and READ, both ways, all bytes equal")


@registered(PAIR, "T3-08-rdma-in-use")
def rdma_in_use(pair: ExaminedPair) -> Outcome:
    """The lanes of that transfer are RDMA, where RDMA is declared."""
    if wrong := fabric.without_rdma(pair.one) or fabric.without_rdma(pair.other):
        return Outcome("FAIL", wrong)
    if isinstance(pair.seen.transfer, str):
        return Outcome("SKIP", pair.seen.transfer)
    found = {lane for said in pair.seen.transfer for lane in lanes(said.log)}
    if not found:
        return Outcome("SKIP", "UCX wrote no line that says it")
    shown = ", ".join(sorted(found))
    if pair.one.verbs or pair.other.verbs:
        slow = any(not ucx.is_rdma(lane) for lane in found)
        return Outcome("FAIL" if slow else "PASS", shown)
    if all(fabric.used_ports(node) for node in (pair.one, pair.other)):
        return Outcome("WARN", f"{shown}, though both hosts have active RDMA ports")
    return Outcome("SKIP", f"no engine names RDMA in UCX_TLS: {shown}")


@registered(PAIR, "T3-40-bandwidth")
def bandwidth(pair: ExaminedPair) -> Outcome:
    """MB/s of that transfer against the floor, between cards."""
    if reason := exchange.without_speed(pair.one, pair.other):
        return Outcome("SKIP", reason)
    if isinstance(pair.seen.transfer, str):
        return Outcome("SKIP", pair.seen.transfer)
    figures = [said.found.get("mb_s") for said in pair.seen.transfer if said.found]
    if len(figures) != 2 or not all(figures):
        return Outcome("SKIP", "the transfer did not come to its end")
    least, floor = (
        min(one[kind] for one in figures if one for kind in _TRANSFERS),
        pair.one.limits.bandwidth_mb_s,
    )
    text = f"{least:,.0f} MB/s in the slower direction, host memory, {floor:,.0f} MB/s wanted"
    return Outcome("PASS" if least >= floor else "FAIL", text)


def _silent(pair: ExaminedPair, seen: tuple[ProgramReport, ProgramReport]) -> str | None:
    """Why a program said nothing, or could not finish because the other did not."""
    for node, said in zip((pair.one, pair.other), seen, strict=True):
        if said.found is None:
            return f"{node.target.name}: {said.trouble}"
    for node, said in zip((pair.one, pair.other), seen, strict=True):
        if "error" in (said.found or {}):
            return f"{node.target.name}: {(said.found or {})['error']}"
    return None
