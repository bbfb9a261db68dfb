"""InfiniBand and RoCE, where an engine's UCX_TLS names them, whatever it runs on. Numbers: failure modes."""

from heteropd.doctor.fabric import GID_INDEX, named_ports, used_ports
from infra_facts import fabric, reading
from infra_facts.fixtures import not_needed


def test_kernel_modules_are_loaded(host, examined, facts):
    """Without the card's module there is no device, without ib_uverbs none that a program can use (9, 10)."""
    names = named_ports(examined) or [port.name for port in examined.facts.ports]
    missing = [
        name for name in fabric.kernel_modules(names, facts.rdma_modules) if not reading.loaded(host, name)
    ]
    assert not missing, f"not loaded: {', '.join(missing)}"


def test_verbs_devices_open(doctor):
    """Without /dev/infiniband/uverbs* UCX has no InfiniBand, and says so only at debug level (10)."""
    doctor("T2-10-verbs-devices")


def test_connection_manager_opens(host):
    """A container that was given only uverbs* lacks the connection manager; on a host, rdma_ucm (10)."""
    device = host.file("/dev/infiniband/rdma_cm")
    assert device.exists, "there is no /dev/infiniband/rdma_cm"
    assert host.run(": <> %s", device.path).rc == 0, "this user may not open /dev/infiniband/rdma_cm"


def test_named_ports_are_active(doctor):
    """UCX leaves out a device that it does not know, and takes what is left, without an error (9)."""
    doctor("T2-09-net-devices")


def test_verbs_sees_the_ports(output, examined, facts, agree):
    """The kernel's port may lack its user-space driver here; then link layer, LID and active MTU (9, 10)."""
    listed = {port.name: port for port in fabric.parse_ports(output("ibv_devinfo"))}
    names = named_ports(examined) or [port.name for port in used_ports(examined)] or list(listed)
    assert names, "ibv_devinfo lists no port"
    agree(line for name in names for line in fabric.port_problems(name, listed, facts.active_mtu))


def test_gid_index_is_a_gid_that_roce_routes(doctor, examined):
    """An unset GID, or one of RoCE v1, ends in time-outs when the first request comes (12)."""
    if not any(GID_INDEX in engine.env for engine in examined.target.engines):
        not_needed(f"{GID_INDEX} is not set: UCX chooses")
    doctor("T2-12-gid-index")


def test_a_gid_can_be_routed(doctor, examined):
    """With link-local or RoCE v1 GIDs alone, connections between subnets time out (12)."""
    if {port.link_layer for port in used_ports(examined)} == {"InfiniBand"}:
        not_needed("the ports in use are InfiniBand, which has no RoCE GIDs")
    doctor("T2-12-roce-gid")


def test_memory_may_be_locked(doctor):
    """Registering memory for RDMA locks it; above the limit it fails with 'Cannot allocate memory' (11)."""
    doctor("T2-11-memlock")


def test_ucx_offers_what_ucx_tls_names(ucx_offers, engine, agree):
    """UCX takes what is left of the names in UCX_TLS, and starts; TCP is far slower (7, 8, 39)."""
    agree(fabric.missing_transports(engine.env, ucx_offers))


def test_nixl_comes_up_with_the_fabric(doctor, examined_nixl):
    """NIXL's wheel brings a libibverbs of its own, which may not know the card: rc is lost there (5)."""
    doctor("T2-57-nixl-verbs", examined_nixl)
