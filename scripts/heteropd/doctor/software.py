"""T2: NIXL and UCX as they come up in an engine's place: complete, one of each, and with the fabric."""

from heteropd import ucx
from heteropd.doctor import fabric
from heteropd.doctor.container_checks import docker
from heteropd.doctor.model import ExaminedHost, Outcome, unknown_python

_ONE_EACH = ("ucp", "uct", "ucs")


def untried(host: ExaminedHost) -> str | None:
    """Why NIXL is not started on a host; None where nothing is known to be in its way."""
    container = docker(host)
    return f"not tried: {container.text}" if container.status == "FAIL" else fabric.hangs(host)


def one_ucx(host: ExaminedHost) -> Outcome:
    """One file each of UCX's libraries is mapped, and not two of libibverbs."""
    if unread := _unread(host):
        return unread
    shown, doubled = [], []
    for reading in host.nixl:
        files = reading.libraries
        if not files:
            why = reading.missing or reading.error or "no library is mapped"
            return Outcome("SKIP", f"{reading.engine}: {why}")
        wrong = [name for name in _ONE_EACH if len(files.get(name, ())) != 1]
        if wrong:
            found = ", ".join(file for name in wrong for file in files.get(name, ("none",)))
            return Outcome("FAIL", f"{reading.engine}: lib{wrong[0]}: {found}")
        shown.append(f"{reading.engine}: UCX {reading.ucx}, {files['ucp'][0]}")
        verbs = files.get("ibverbs", ())
        doubled += [f"{reading.engine}: libibverbs: {', '.join(verbs)}"] if len(verbs) > 1 else []
    # The wheel's UCX loads some drivers of the system, and they its libibverbs: T2-57 says what RDMA is left.
    return Outcome.judged(not doubled, "; ".join(doubled or shown), "WARN")


def nixl_ucx(host: ExaminedHost) -> Outcome:
    """An agent over UCX starts. Where RDMA is wanted and UCX came up without it, T2-57 says so."""
    if trouble := _trouble(host):
        return Outcome("WARN", f"could not be asked: {trouble}")
    if unread := _unread(host):
        return unread
    if unused := fabric.without_rdma(host):
        return Outcome("SKIP", unused)
    wrong = [reading for reading in host.nixl if reading.wrong]
    for reading in wrong:
        if reading.missing or not (host.verbs and reading.ucx):
            return Outcome("FAIL", f"{reading.engine}: {reading.wrong}")
    if wrong:
        return Outcome("SKIP", "UCX came up and found nothing to use: T2-57-nixl-verbs says more")
    shown = (f"{reading.engine}: NIXL {reading.nixl}, UCX {reading.ucx}" for reading in host.nixl)
    return Outcome("PASS", "; ".join(shown))


def transports(host: ExaminedHost) -> Outcome:
    """UCX complains about no name of UCX_TLS; RDMA is T2-57's, and devices' were left out here."""
    if unread := _unread(host):
        return unread
    if all(reading.ucx is None for reading in host.nixl):
        return Outcome("SKIP", "UCX did not come up")
    unknown = [name for reading in host.nixl for name in reading.unknown if not ucx.is_rdma(name)]
    if unknown:
        return Outcome("FAIL", f"UCX does not offer {', '.join(dict.fromkeys(unknown))}")
    return Outcome("PASS", "UCX knows every name (a device's was left out: nothing here opens it)")


def card_untouched(host: ExaminedHost) -> Outcome:
    """The probe's own process held no accelerator."""
    if unread := _unread(host):
        return unread
    if all(reading.missing for reading in host.nixl):
        return Outcome("SKIP", "NIXL did not start")
    held = sorted({device for reading in host.nixl for device in reading.opened})
    if held:
        return Outcome("FAIL", f"NIXL's process held {', '.join(held)}")
    return Outcome("PASS", "NIXL and UCX were started, and opened no accelerator")


def nixl_verbs(host: ExaminedHost) -> Outcome:
    """UCX below NIXL offers RDMA on a port that is to be used."""
    if unread := _unread(host):
        return unread
    if wrong := fabric.unfit(host):
        return Outcome("SKIP", wrong)
    names, shown = [port.name for port in fabric.used_ports(host)], []
    for reading in host.nixl:
        if reading.ucx is None:
            return Outcome("SKIP", f"{reading.engine}: UCX did not come up")
        every = sorted(reading.resources)
        offered = [name for name in every if ucx.is_rdma(name) and name.partition("/")[2] in names]
        if not offered:
            why = reading.error or f"it offers {', '.join(every) or 'nothing'}"
            return Outcome("FAIL", f"{reading.engine}: no RDMA on {', '.join(names)}: {why}")
        shown.append(f"{reading.engine}: {', '.join(offered)}")
    return Outcome("PASS", "; ".join(shown))


def _unread(host: ExaminedHost) -> Outcome | None:
    """A SKIP where nothing is known; that the question itself failed is said once, by T2-05."""
    if not host.target.engines:
        return Outcome("SKIP", "no engine is planned here")
    if not host.nixl:
        return Outcome("SKIP", untried(host) or unknown_python(host.target))
    trouble = _trouble(host)
    return Outcome("SKIP", f"could not be asked: {trouble}") if trouble else None


def _trouble(host: ExaminedHost) -> str | None:
    return next((f"{reading.engine}: {reading.trouble}" for reading in host.nixl if reading.trouble), None)
