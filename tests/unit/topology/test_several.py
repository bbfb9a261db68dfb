"""A topology with two decodes: started, watched, read, found broken and ended like any other."""

import os
import signal
import socket
from dataclasses import replace

import pytest

from heteropd.errors import TopologyFailed
from heteropd.plan.model import HostPlan, Ports
from heteropd.topology import down, logs, status, up


@pytest.fixture
def two(kit):
    """The stub plan with a second decode; the kit looks after its port too."""

    def make(flags=(), **changes):
        plan = kit.plan(**changes)
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        kit.ports = [*kit.ports[:3], port]
        prefill, decode, router = plan.roles
        argv = [*decode.argv[: decode.argv.index("--port")], "--port", str(port), *flags]
        second = decode.model_copy(update={"name": "decode-1", "argv": argv, "ports": Ports(api=port)})
        return plan.model_copy(update={"roles": [prefill, decode, second, router]})

    return make


def test_every_engine_is_started_watched_and_ended(kit, two):
    topology = up(two(["--healthy-after", "0.3"]), kit.context)
    assert [one.name for one in topology.roles] == ["prefill-0", "decode-0", "decode-1", "router"]
    assert topology.role("decode-1").healthy_after_s >= 0.2
    assert {one.name: one.state for one in status(kit.context).roles}["decode-1"] == "running"
    logs(kit.context, role="decode-1")
    assert "decode-1 │" in kit.said()
    report = down(kit.context)
    assert report.ok
    kit.assert_nothing_left()


def test_the_second_of_a_role_that_dies_is_named(kit, two):
    up(two(), kit.context)
    before = status(kit.context)
    [pid] = [one.pid for one in before.roles if one.name == "decode-1"]
    os.kill(pid, signal.SIGKILL)
    kit.eventually(lambda: status(kit.context).state == "broken", "the death is seen")
    assert [one.name for one in status(kit.context).roles if one.state == "dead"] == ["decode-1"]


def test_a_bring_up_in_which_the_second_dies_leaves_nothing(kit, two):
    flags = ["--healthy-after", "60", "--die-after", "0.2", "--exit-code", "3"]
    with pytest.raises(TopologyFailed, match="decode-1 died"):
        up(two(flags), kit.context)
    kit.assert_nothing_left()


def test_this_machine_asks_at_the_management_address(kit):
    """Nothing answers at the address that the peers use."""
    plan = kit.plan()
    elsewhere = HostPlan(name="here", address="192.0.2.1", management="127.0.0.1")
    roles = [role.model_copy(update={"host": elsewhere}) for role in plan.roles]
    quick = replace(kit.context, timeouts=replace(kit.context.timeouts, health=0.5))
    topology = up(plan.model_copy(update={"roles": roles}), quick)
    assert topology.url == f"http://127.0.0.1:{kit.ports[2]}"
    assert status(quick).state == "up"
