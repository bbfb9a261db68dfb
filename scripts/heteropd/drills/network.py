"""Drills on the network between the prefill's host and the decode's: both are reached over ssh, as root."""

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from heteropd.doctor.reach import over_ssh, ssh_config
from heteropd.drills.model import CannotBePerformed
from heteropd.drills.session import DrillSession
from heteropd.plan.model import HostPlan
from heteropd.topology import status

_LINK = "rate 50mbit burst 64kb latency 400ms"
_RECOVERS_S = 30.0


def partition(stage: DrillSession) -> None:
    """Each of the two hosts drops what comes from the other; what it sends itself is lost on the way, as in a
    network that is cut (a rule on output would tell the sender)."""
    prefill_role = stage.first("prefill")
    prefill, decode = prefill_role.host, stage.first("decode").host
    with ExitStack() as stack:
        for host, peer in ((prefill, decode), (decode, prefill)):
            rule = f"INPUT -s {shlex.quote(peer.address)} -j DROP"
            stack.enter_context(_while_held(host, f"iptables -w -I {rule}", f"iptables -w -D {rule}"))
        stage.fault(f"{prefill.name} and {decode.name} drop what comes from each other")
        stage.meanwhile()
        stage.saw("status", status(stage.context).state)
    _without_a_restart(stage)
    stage.fix(prefill_role.name)


def slow_link(stage: DrillSession) -> None:
    """The prefill's host, from where KV is fetched, sends at a low rate."""
    prefill, peer = stage.first("prefill").host, shlex.quote(stage.first("decode").host.address)
    device = f"device=$(ip -o route get {peer} | sed 's/.* dev \\([^ ]*\\).*/\\1/')"
    begin = f"{device}; tc qdisc add dev $device root tbf {_LINK}"
    with _while_held(prefill, begin, "tc qdisc del dev $device root"):
        stage.fault(f"{prefill.name} sends with {_LINK}")
        for known in (*stage.healthy.short, stage.healthy.long):
            stage.judge("a request", known, stage.ask(stage.plan.router.url, known))
    stage.whole("afterwards, without a restart")


def _without_a_restart(stage: DrillSession) -> None:
    """Whether answers come back by themselves with the network; errors meanwhile break no promise."""
    known, began, waited = stage.healthy.short[0], stage.clock.now(), 0.0
    while waited < _RECOVERS_S:
        answer = stage.ask(stage.plan.router.url, known)
        waited = stage.clock.now() - began
        if answer.ok:
            stage.judge("when the network is back", known, answer)
            stage.saw("without a restart", f"answers again after {waited:.0f} s")
            return
        stage.clock.sleep(1.0)
    stage.judge("when the network is back", known, answer)
    stage.saw("without a restart", f"no answer within {waited:.0f} s")


@contextmanager
def _while_held(host: HostPlan, begin: str, end: str) -> Iterator[None]:
    """Run ``begin`` on a host, and ``end`` when our end of the pipe closes, however we end.

    Raises CannotBePerformed with what the host said.
    """
    assert host.ssh, "`why_not` asks for hosts that are reached over ssh"
    place = over_ssh(host.ssh, ssh_config(None))
    script = f"set -e; {begin}; trap '{end}' EXIT; echo ready; cat >/dev/null || true"
    command = place.command(["sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; {script}"])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as held:
        assert held.stdin is not None, "it is a pipe"
        assert held.stdout is not None, "it is a pipe"
        word = held.stdout.readline().strip()
        if word != "ready":
            raise CannotBePerformed(f"{host.ssh}: {word or 'no answer'}")
        try:
            yield
        finally:
            held.stdin.close()
            held.wait()
