"""Work that reports nothing is seen to go on, with its time, and no longer than it does."""

import threading

from heteropd.console.heartbeat import heartbeat


def test_work_is_said_to_go_on_until_it_ends():
    lines: list[str] = []
    twice = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            twice.set()

    with heartbeat("setting up", say, every_s=0.01):
        assert twice.wait(20)
    assert lines[0].startswith("still setting up after 0 s")
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_short_work_says_nothing():
    lines: list[str] = []
    with heartbeat("setting up", lines.append, every_s=60):
        pass
    assert lines == []
