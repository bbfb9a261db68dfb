"""Jobs side by side."""

import threading
import time

import pytest

from heteropd.proof.concurrency import side_by_side


def test_results_come_in_the_order_of_the_jobs():
    assert [one.result(5) for one in side_by_side([lambda n=n: n * n for n in range(20)], 3)] == [
        n * n for n in range(20)
    ]


def test_no_more_run_at_once_than_asked_for():
    running, most, lock, three = 0, 0, threading.Lock(), threading.Barrier(3)

    def job():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        three.wait(30)
        with lock:
            running -= 1

    for one in side_by_side([job] * 12, 3):
        one.result(60)
    assert most == 3


def test_a_failure_is_the_askers_and_stops_nobody_else():
    def broken():
        raise ValueError("no")

    first, second = side_by_side([broken, lambda: 1], 1)
    assert second.result(5) == 1
    with pytest.raises(ValueError, match="no"):
        first.result(5)


def test_the_threads_end_with_the_work():
    before = threading.active_count()
    for one in side_by_side([lambda: None] * 8, 8):
        one.result(5)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
