"""A plan that is running: up, wait, status, logs, down, and the state on disk that ties them together."""

from heteropd.topology.bringup import up
from heteropd.topology.context import Context, Timeouts
from heteropd.topology.interrupt_scope import InterruptScope
from heteropd.topology.logs import logs
from heteropd.topology.recover import recover
from heteropd.topology.restart import restart
from heteropd.topology.state import STANDIN_NOTICE, RoleState, Topology
from heteropd.topology.state import load as _load
from heteropd.topology.statusreport import running, status
from heteropd.topology.teardown import down

__all__ = [
    "STANDIN_NOTICE",
    "Context",
    "InterruptScope",
    "RoleState",
    "Timeouts",
    "Topology",
    "down",
    "load",
    "logs",
    "recover",
    "restart",
    "running",
    "status",
    "up",
]


def load(context: Context) -> Topology | None:
    """The recorded topology, alive or not; None when there is none. Raises BadInput when unreadable."""
    return _load(context.state_dir)
