"""Services beside a topology: started, found, ended; nothing of what failed or was interrupted is left."""

from __future__ import annotations

import io
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from heteropd.config import yamlfile
from heteropd.config.machine import Machine
from heteropd.config.observe import ObserveSettings, Service
from heteropd.errors import BadInput, Interrupted, KitError, MissingPrerequisite
from heteropd.observe import files, services
from heteropd.processes.process_tree import tagged
from heteropd.system import SystemClock
from heteropd.topology import Context, Timeouts
from heteropd.topology.checks import free
from plan_words import make

ROOT = Path(__file__).parents[3]
PLAN = make(["case1", "prefills=1", "decodes=2"], ROOT, Machine(cores=[0, 1, 2, 3]))
IMAGE = "docker.io/no/such@sha256:" + "0" * 64
SERVE = """
import http.server, sys
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def service(*argv: str, ready: str = "/", package: str | None = None) -> Service:
    return Service(image=IMAGE, port=1, ready=ready, argv=list(argv), package=package)


SERVES = service(sys.executable, "-c", SERVE, "{port}")
NEVER_READY = service(sys.executable, "-c", SERVE, "{port}", ready="/nothing")
DIES = service(sys.executable, "-c", "print('a wrong flag'); raise SystemExit(1)")
NOT_HERE = service("no-such-program", package="prometheus")


def free_port() -> int:
    return next(port for port in iter(lambda: random.randrange(10_000, 32_000), 0) if free(port))


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker.sock")
    console = Console(file=io.StringIO(), width=200)
    held = Context(root=ROOT, console=console, timeouts=Timeouts(poll=0.02), state_dir=tmp_path / "state")
    yield held
    services.end(held, grace_s=0)


def ours(context: Context) -> set[object]:
    return {*tagged(context.state_dir, variable=services.TAG)}


def said(context: Context) -> str:
    assert isinstance(context.console.file, io.StringIO)
    return context.console.file.getvalue()


def test_what_is_started_is_found_and_ended(context: Context) -> None:
    ports = {"prometheus": free_port(), "grafana": free_port()}
    urls = services.start(PLAN, {"prometheus": SERVES, "grafana": SERVES}, ports, context)
    assert urls == {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    assert services.running(context) == urls
    assert len(ours(context)) == 2
    assert services.end(context) == ["prometheus", "grafana"]
    assert (services.running(context), ours(context), services.end(context)) == ({}, set(), [])
    assert {file.name for file in context.state_dir.iterdir()} == {"logs"}


def test_a_second_start_replaces_the_first_and_keeps_what_was_recorded(context: Context) -> None:
    port = {"prometheus": free_port()}
    services.start(PLAN, {"prometheus": SERVES}, port, context)
    first, kept = ours(context), context.state_dir / "observe/data"
    kept.touch()
    services.start(PLAN, {"prometheus": SERVES}, port, context)
    assert len(ours(context)) == 1
    assert not first & ours(context)
    assert kept.exists()


def test_it_is_ended_by_its_tag_whatever_was_recorded(context: Context) -> None:
    services.start(PLAN, {"prometheus": SERVES}, {"prometheus": free_port()}, context)
    (context.state_dir / "observe/services.json").write_text("{")
    assert services.running(context) == {}
    assert services.end(context) == ["what observed"]
    assert ours(context) == set()


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (NOT_HERE, MissingPrerequisite, "not installed, and .*; `apt-get install prometheus`"),
        (DIES, KitError, "prometheus does not serve; its log is"),
    ],
)  # fmt: skip
def test_prometheus_that_cannot_be_had_ends_it(
    context: Context, wrong: Service, error: type[KitError], text: str
) -> None:
    with pytest.raises(error, match=text) as stop:
        services.start(PLAN, {"prometheus": wrong}, {"prometheus": free_port()}, context)
    assert type(stop.value) is not BadInput
    assert ours(context) == set()
    assert not (context.state_dir / "observe").exists()


def test_a_port_in_use_is_said_with_the_word_that_changes_it(context: Context) -> None:
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(BadInput, match=f"port: {port}: is in use by .*choose another with port="),
    ):
        services.start(PLAN, {"prometheus": SERVES}, {"prometheus": port}, context)


def test_a_port_beyond_the_last_is_refused(context: Context) -> None:
    with pytest.raises(BadInput, match="port: 70000: is not a port"):
        services.start(PLAN, {"prometheus": SERVES}, {"prometheus": 70000}, context)
    both = {"prometheus": SERVES, "grafana": SERVES}
    with pytest.raises(BadInput, match="grafana_port: 29090: is another service's too"):
        services.start(PLAN, both, dict.fromkeys(both, 29090), context)


@pytest.mark.parametrize("wrong", [NOT_HERE, DIES])
def test_without_grafana_prometheus_runs(context: Context, wrong: Service) -> None:
    ports = {"prometheus": free_port(), "grafana": free_port()}
    urls = services.start(PLAN, {"prometheus": SERVES, "grafana": wrong}, ports, context)
    assert list(urls) == ["prometheus"] == list(services.running(context))
    assert "without grafana: " in said(context)
    assert len(ours(context)) == 1


class Interrupting(SystemClock):
    """Somebody presses ctrl-C while we wait, and again while we end what was started."""

    def sleep(self, seconds: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        super().sleep(seconds)


def test_an_interrupt_leaves_nothing(context: Context) -> None:
    interrupted = replace(context, clock=Interrupting())
    with pytest.raises(Interrupted):
        services.start(PLAN, {"prometheus": NEVER_READY}, {"prometheus": free_port()}, interrupted)
    assert ours(context) == set()
    assert not (context.state_dir / "observe").exists()


def test_targets_are_every_page_of_metrics() -> None:
    found = {entry["labels"]["name"]: entry["targets"] for entry in files.targets(PLAN)}  # type: ignore[index]
    assert found == {
        "prefill-0": ["127.0.0.1:8100"],
        "decode-0": ["127.0.0.1:8200"],
        "decode-1": ["127.0.0.1:8201"],
        "router": ["127.0.0.1:29000"],
    }


def test_texts_of_the_settings_know_their_places() -> None:
    settings = yamlfile.load(ObserveSettings, ROOT / "env/observe.yaml", ROOT)
    for name, entry in settings.services.items():
        for text in (*entry.argv, *entry.env.values()):
            assert "{" not in text.format(folder="F", port=1, prometheus="P"), name
