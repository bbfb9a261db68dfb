"""Containers that end slowly: Docker gives up on them before the kernel has let go of their processes."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound

from heteropd.containers import stopping
from heteropd.containers.lifecycle import ContainerRef
from heteropd.errors import KitError

REF = ContainerRef(id="1", name="decode-0", docker_host="unix:///nowhere")


class Slow:
    """A Docker that refuses to end its container, which is gone after so many looks or attempts."""

    def __init__(self, looks: int, code: int = 500) -> None:
        self.api, self.looks, self.code = self, looks, code

    def stop(self, _: str, timeout: int) -> None:
        raise self._refusal(f"a zombie after {timeout} s")

    def inspect_container(self, _: str) -> dict[str, Any]:
        self.looks -= 1
        return {"State": {"Running": self.looks > 0, "ExitCode": 137}}

    def remove_container(self, _: str, **how: bool) -> None:
        assert how == {"force": True, "v": True}
        self.looks -= 1
        raise self._refusal("a zombie") if self.looks > 0 else NotFound("gone")

    def _refusal(self, why: str) -> APIError:
        response = requests.Response()
        response.status_code = self.code
        return APIError(why, response)


def slow_docker(monkeypatch: pytest.MonkeyPatch, looks: int, code: int = 500, gone_s: float = 60.0) -> Slow:
    slow = Slow(looks, code)
    monkeypatch.setattr(stopping, "client", lambda _: slow)
    monkeypatch.setattr(stopping, "away", lambda _: None)
    monkeypatch.setattr(stopping, "_GONE_S", gone_s)
    return slow


def test_a_container_that_dies_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slow_docker(monkeypatch, looks=3)
    assert stopping.stop([REF], 15) == {"1": "killed"}


@pytest.mark.parametrize("code", [409, 500])
def test_a_container_that_cannot_be_removed_yet_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    slow = slow_docker(monkeypatch, looks=3, code=code)
    stopping.remove(REF)
    assert slow.looks == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"looks": 1000, "gone_s": 0.0}, "decode-0: 500 Server Error"),
        ({"looks": 3, "code": 403}, "decode-0: 403 Client Error"),
    ],
)
def test_neither_is_waited_for_in_vain(monkeypatch: pytest.MonkeyPatch, given: Any, said: str) -> None:
    slow_docker(monkeypatch, **given)
    with pytest.raises(KitError, match=said):
        stopping.stop([REF], 15)
    slow_docker(monkeypatch, **given)
    with pytest.raises(KitError, match=said):
        stopping.remove(REF)
