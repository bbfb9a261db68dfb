"""Drills on the network between the prefill's host and the decode's: both are reached over ssh, as root."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from heteropd.drill.catalogue import drill
from heteropd.drill.model import CannotBePerformed
from heteropd.drill.stage import Stage
from heteropd.preflight.reach import ssh_config
from heteropd.preflight.runners import SshRunner
from heteropd.topology import status

_LINK = "delay 50ms rate 20mbit"


@drill("partition")
def partition(stage: Stage) -> None:
    """The decode's host drops what goes to the prefill's and what comes from there."""
    peer = shlex.quote(stage.first("prefill").host.address)
    rules = (f"INPUT -s {peer} -j DROP", f"OUTPUT -d {peer} -j DROP")
    begin = "; ".join(f"iptables -w -I {rule}" for rule in rules)
    end = "; ".join(f"iptables -w -D {rule}" for rule in rules)
    with _while_held(stage, begin, end):
        stage.fault(f"{stage.first('decode').host.name} drops what it exchanges with {peer}")
        stage.meanwhile()
        stage.saw("status", status(stage.context).state)
    began = stage.clock.now()
    for known in stage.healthy.short:
        stage.judge("when the network is back", known, stage.ask(stage.plan.router.url, known))
    took = stage.clock.now() - began
    stage.saw("without a restart", f"looked at for {took:.0f} s")
    stage.mend(stage.first("prefill").name)


@drill("slow-link")
def slow_link(stage: Stage) -> None:
    """The decode's host sends through netem: delayed, and at a low rate."""
    peer = shlex.quote(stage.first("prefill").host.address)
    device = f"device=$(ip -o route get {peer} | sed 's/.* dev \\([^ ]*\\).*/\\1/')"
    begin = f"{device}; tc qdisc add dev $device root netem {_LINK}"
    with _while_held(stage, begin, "tc qdisc del dev $device root"):
        stage.fault(f"{stage.first('decode').host.name} sends with {_LINK}")
        for known in (*stage.healthy.short, stage.healthy.long):
            stage.judge("a request", known, stage.ask(stage.plan.router.url, known))
    stage.whole("afterwards, without a restart")


@contextmanager
def _while_held(stage: Stage, begin: str, end: str) -> Iterator[None]:
    """Run ``begin`` on the decode's host, and ``end`` when our end of the pipe closes, however we end.

    Raises CannotBePerformed with what the host said.
    """
    destination = stage.first("decode").host.ssh
    assert destination, "`why_not` asks for hosts that are reached over ssh"
    place = SshRunner(destination, config=ssh_config(None))
    script = f"set -e; {begin}; trap '{end}' EXIT; echo ready; cat >/dev/null || true"
    command = place.command(["sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; {script}"])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as held:
        assert held.stdin is not None, "it is a pipe"
        assert held.stdout is not None, "it is a pipe"
        said = held.stdout.readline().strip()
        if said != "ready":
            raise CannotBePerformed(f"{destination}: {said or 'no answer'}")
        try:
            yield
        finally:
            held.stdin.close()
            held.wait()
