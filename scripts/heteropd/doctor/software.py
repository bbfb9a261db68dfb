"""T2: NIXL and UCX as they come up in an engine's place: complete, one of each, and with the fabric."""

from __future__ import annotations

from collections.abc import Iterable

from heteropd import ucx
from heteropd.doctor import fabric
from heteropd.doctor.catalogue import NODE, registered
from heteropd.doctor.model import ExaminedHost, Outcome, unknown_python
from heteropd.doctor.nixl import NixlReading

_ONE_EACH = ("ucp", "uct", "ucs")


@registered(NODE, "T2-04-one-ucx")
def one_ucx(node: ExaminedHost) -> Outcome:
    """One file each of UCX's libraries is mapped, and not two of libibverbs."""
    if unread := _unread(node):
        return unread
    shown, doubled = [], []
    for said in node.nixl:
        files = said.libraries
        if not files:
            return Outcome("SKIP", f"{said.engine}: {said.missing or said.error or 'no library is mapped'}")
        wrong = [name for name in _ONE_EACH if len(files.get(name, ())) != 1]
        if wrong:
            found = ", ".join(file for name in wrong for file in files.get(name, ("none",)))
            return Outcome("FAIL", f"{said.engine}: lib{wrong[0]}: {found}")
        shown.append(f"{said.engine}: UCX {said.ucx}, {files['ucp'][0]}")
        verbs = files.get("ibverbs", ())
        doubled += [f"{said.engine}: libibverbs: {', '.join(verbs)}"] if len(verbs) > 1 else []
    # The wheel's UCX loads some drivers of the system, and they its libibverbs: T2-57 says what RDMA is left.
    return Outcome("WARN", "; ".join(doubled)) if doubled else Outcome("PASS", "; ".join(shown))


@registered(NODE, "T2-05-nixl-ucx")
def nixl_ucx(node: ExaminedHost) -> Outcome:
    """An agent over UCX starts. Where RDMA is wanted and UCX came up without it, T2-57 says so."""
    if trouble := _trouble(node):
        return Outcome("WARN", f"could not be asked: {trouble}")
    if unread := _unread(node):
        return unread
    if told := fabric.without_rdma(node):
        return Outcome("SKIP", told)
    wrong = [said for said in node.nixl if said.wrong]
    for said in wrong:
        if said.missing or not (node.verbs and said.ucx):
            return Outcome("FAIL", f"{said.engine}: {said.wrong}")
    if wrong:
        return Outcome("SKIP", "UCX came up and found nothing to use: T2-57-nixl-verbs says more")
    shown = (f"{said.engine}: NIXL {said.nixl}, UCX {said.ucx}" for said in node.nixl)
    return Outcome("PASS", "; ".join(shown))


@registered(NODE, "T2-07-transports")
def transports(node: ExaminedHost) -> Outcome:
    """UCX complains about no name of UCX_TLS; RDMA is T2-57's, and devices' were left out here."""
    if unread := _unread(node):
        return unread
    if all(said.ucx is None for said in node.nixl):
        return Outcome("SKIP", "UCX did not come up")
    unknown = [name for said in node.nixl for name in said.unknown if not ucx.is_rdma(name)]
    if unknown:
        return Outcome("FAIL", f"UCX does not offer {', '.join(dict.fromkeys(unknown))}")
    return Outcome("PASS", "UCX knows every name (a device's was left out: nothing here opens it)")


@registered(NODE, "T2-15-card-untouched")
def card_untouched(node: ExaminedHost) -> Outcome:
    """The probe's own process held no accelerator."""
    if unread := _unread(node):
        return unread
    if all(said.missing for said in node.nixl):
        return Outcome("SKIP", "NIXL did not start")
    held = sorted({device for said in node.nixl for device in said.opened})
    if held:
        return Outcome("FAIL", f"NIXL's process held {', '.join(held)}")
    return Outcome("PASS", "NIXL and UCX were started, and opened no accelerator")


@registered(NODE, "T2-57-nixl-verbs")
def nixl_verbs(node: ExaminedHost) -> Outcome:
    """UCX below NIXL offers RDMA on a port that is to be used."""
    if unread := _unread(node):
        return unread
    if wrong := fabric.unfit(node):
        return Outcome("SKIP", wrong)
    names = [port.name for port in fabric.used_ports(node)]
    shown = []
    for said in node.nixl:
        if said.ucx is None:
            return Outcome("SKIP", f"{said.engine}: UCX did not come up")
        offered = sorted(one for one in said.resources if _reaches(one, names))
        if not offered:
            why = said.error or f"it offers {_listed(said)}"
            return Outcome("FAIL", f"{said.engine}: no RDMA on {', '.join(names)}: {why}")
        shown.append(f"{said.engine}: {', '.join(offered)}")
    return Outcome("PASS", "; ".join(shown))


def _reaches(resource: str, names: Iterable[str]) -> bool:
    transport, _, device = resource.partition("/")
    return ucx.is_rdma(transport) and device in names


def _listed(said: NixlReading) -> str:
    return ", ".join(sorted(said.resources)) or "nothing"


def _unread(node: ExaminedHost) -> Outcome | None:
    """A SKIP where nothing is known; that the question itself failed is said once, by T2-05."""
    if not node.target.engines:
        return Outcome("SKIP", "no engine is planned here")
    if not node.nixl:
        return Outcome("SKIP", fabric.hangs(node) or unknown_python(node.target))
    trouble = _trouble(node)
    return Outcome("SKIP", f"could not be asked: {trouble}") if trouble else None


def _trouble(node: ExaminedHost) -> str | None:
    return next((f"{said.engine}: {said.trouble}" for said in node.nixl if said.trouble), None)
