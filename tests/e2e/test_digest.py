"""With ``digest=enforce`` no corrupted KV is answered and the log says where; clean requests all pass."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest
from e2e_kit import ROOT, Kit, kit, port_words
from test_faults import with_faults

from heteropd import topology
from heteropd.config.machine import probe
from heteropd.config.types import Role
from heteropd.engine_api.requests import HANDOVER, greedy, prefill_request
from heteropd.plan.model import Plan
from plan_words import make

LAYERS = 30
LAST, MIDDLE = LAYERS - 1, LAYERS // 2
# Where the log says that the KV differs first: (layer, head, token); None where any will do.
PLACES: dict[str, tuple[int, int, int | None]] = {
    "wrong-layout": (0, 0, None),
    "swapped-blocks": (0, 0, 0),
    "shifted-blocks": (0, 0, 0),
    "missing-last-block": (0, 0, 256),
    "stale-blocks": (0, 0, 0),
    "kv-swapped": (0, 0, 0),
    "one-layer-only": (MIDDLE, 0, 0),
    "never-moved": (0, 0, None),
    "unsalted-only": (0, 0, 0),
    "may-stop-only": (0, 0, 0),
    "long-only": (0, 0, 0),
    # Ten more, of which validation may miss some; one-in-ten and under-load are below.
    "one-bit": (LAST, 1, 3),
    "one-sign": (0, 0, 0),
    "one-head-only": (7, 1, 0),
    "last-layer-only": (LAST, 0, 0),
    "swapped-tokens": (0, 0, 1),
    "swapped-heads": (0, 0, 0),
    "swapped-layers": (3, 0, 0),
    "scaled-k": (0, 0, 0),
    "same-text": (0, 0, 128),
}
IN_BLOCKS_OF_16 = {"missing-last-block": (0, 0, 304), "same-text": (0, 0, 16)}
SAID = re.compile(r"not what the prefill computed, first in layer (\d+), head (\d+), token (\d+) ")


@dataclass
class Digesting:
    """A running topology with digest=enforce, and the file that switches faults on its decode."""

    kit: Kit
    plan: Plan

    def switch(self, fault: str) -> None:
        (self.kit.state / "fault").write_text(fault)

    def ask(self, tokens: int, generator: random.Random, **changed: Any) -> int:
        """Send a prompt through the router; the HTTP status."""
        return self.post(self.plan.router.url, self.request(tokens, generator) | changed).status_code

    def ask_many(self, count: int, seed: str, most: int = 500) -> list[int]:
        """Prompts of random lengths, eight at a time; their statuses."""
        generators = [random.Random(f"{seed}, {index}") for index in range(count)]
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda own: self.ask(own.randrange(1, most), own), generators))

    def request(self, tokens: int, generator: random.Random) -> dict[str, Any]:
        """A prompt that repeats a text of 16 tokens."""
        text = [generator.randrange(100, 40000) for _ in range(16)]
        return greedy(self.plan.model, (text * tokens)[:tokens], 2, 1, str(generator.random()))

    def post(self, url: str, request: dict[str, Any], timeout_s: float = 120) -> httpx.Response:
        return httpx.post(f"{url}/v1/completions", json=request, timeout=timeout_s)

    def hand_over(self, request: dict[str, Any], change: Callable[[Any], object]) -> httpx.Response:
        """Send a request as a router does, and change what the prefill hands over; the decode's response."""
        [prefill], [decode] = self.plan.of("prefill"), self.plan.of("decode")
        params = self.post(prefill.url, prefill_request(request)).json()[HANDOVER]
        change(params)
        return self.post(decode.url, request | {HANDOVER: params})

    def counted(self, name: str, role: Role = "decode") -> int:
        """A counter of the digest, or of vLLM with its prefix, once it has been still for a moment."""
        [engine] = self.plan.of(role)
        full = name if ":" in name else f"heteropd:kv_digests_{name}"
        last, seen = -1, -2
        while last != seen:
            last = seen
            time.sleep(0.3)
            page = httpx.get(f"{engine.url}/metrics", timeout=30).text
            seen = int(sum(map(float, re.findall(rf"^{full}_total{{.*}} (.*)$", page, re.M))))
        return seen

    def log(self) -> str:
        [decode] = self.plan.of("decode")
        return (self.kit.state / "logs" / f"{decode.name}.log").read_text()


@pytest.fixture(scope="module", params=["case1", "case2"])
def digesting(request: pytest.FixtureRequest) -> Iterator[Digesting]:
    if request.param != "case1" and not request.config.getoption("--all-faults"):
        pytest.skip("--all-faults tries case 2 as well; test_cases validates it with the digest")
    with kit() as one:
        plan = make([request.param, "digest=enforce", *port_words()], ROOT, probe())
        roles = [with_faults(role, one.state / "fault", "") for role in plan.roles]
        digesting = Digesting(one, plan.model_copy(update={"roles": roles}))
        digesting.switch("none")
        topology.up(digesting.plan, one.context(digesting.plan))
        yield digesting


def test_clean_requests_all_pass(digesting: Digesting, clean_requests: int) -> None:
    before = digesting.counted("equal")
    assert digesting.ask_many(clean_requests, "clean") == [200] * clean_requests
    assert digesting.counted("equal") - before == clean_requests
    assert digesting.counted("equal") == digesting.counted("made", "prefill")
    assert [digesting.counted(name) for name in ("differs", "unknown", "left_out")] == [0, 0, 0]


def test_chunks_and_blocks_of_earlier_requests_are_digested(digesting: Digesting) -> None:
    """The same prompt again, and longer ones that begin with it: from the prefill's cache in case 1; together
    more than a step's 2,048 tokens in case 2, so some are computed in chunks."""
    equal, generator = digesting.counted("equal"), random.Random("again")
    request = digesting.request(1000, generator)
    longer = request | {"prompt": request["prompt"] + [17] * 90}
    with ThreadPoolExecutor(4) as pool:
        for bodies in ([request], [request, longer], [longer, request, longer, request]):
            responses = list(pool.map(lambda body: digesting.post(digesting.plan.router.url, body), bodies))
            assert [response.status_code for response in responses] == [200] * len(bodies)
    if digesting.plan.case == "case1":
        assert digesting.counted("vllm:prefix_cache_hits", "prefill") > 0
        assert digesting.counted("equal") == equal + 7
    assert digesting.counted("differs") + digesting.counted("unknown") == 0


def test_requests_that_end_early_leave_nothing_wrong(digesting: Digesting) -> None:
    for wait_s in (0.05, 0.2, 0.4, 0.8):
        body = digesting.request(900, random.Random(str(wait_s))) | {"max_tokens": 500}
        with pytest.raises(httpx.ReadTimeout):
            digesting.post(digesting.plan.router.url, body, timeout_s=wait_s)
    assert digesting.ask_many(8, "after those that ended early") == [200] * 8
    assert digesting.counted("differs") + digesting.counted("unknown") == 0


@pytest.mark.parametrize("fault", sorted(PLACES))
def test_a_corrupted_prompt_is_refused_and_its_place_named(digesting: Digesting, fault: str) -> None:
    changed: dict[str, dict[str, Any]] = {
        "unsalted-only": {"cache_salt": None},
        "may-stop-only": {"ignore_eos": False},
    }
    body = digesting.request(310, random.Random(fault)) | changed.get(fault, {})
    if fault == "same-text":
        digesting.ask(310, random.Random(fault), cache_salt="before")
    said = len(SAID.findall(digesting.log()))
    digesting.switch(fault)
    assert digesting.post(digesting.plan.router.url, body).status_code >= 500
    digesting.switch("none")
    layer, head, token = map(int, SAID.findall(digesting.log())[said])
    expected = PLACES[fault]
    if digesting.plan.case == "case2":
        expected = IN_BLOCKS_OF_16.get(fault, expected)
    assert (layer, head) == expected[:2]
    assert expected[2] in (token, None)


def test_every_refusal_is_counted_and_logged_once(digesting: Digesting) -> None:
    assert digesting.counted("differs") == len(SAID.findall(digesting.log())) >= len(PLACES)


@pytest.mark.parametrize("fault", ["one-in-ten", "under-load"])
def test_a_fault_that_comes_and_goes_is_refused_whenever_it_comes(digesting: Digesting, fault: str) -> None:
    """vllm-router may try a refused prompt again: what is answered in the end was checked."""
    before = {name: digesting.counted(name) for name in ("differs", "equal")}
    struck_requests = digesting.kit.state / "fault.requests"
    struck_requests.unlink(missing_ok=True)
    digesting.switch(fault)
    statuses = digesting.ask_many(20, fault, most=200)
    digesting.switch("none")
    struck = len(set(struck_requests.read_text().split()))
    assert digesting.counted("differs") - before["differs"] == struck
    assert digesting.counted("equal") - before["equal"] == statuses.count(200)


def test_observe_counts_and_answers(digesting: Digesting) -> None:
    before = digesting.counted("differs")
    digesting.switch("observe one-bit")
    assert digesting.ask(100, random.Random("observe")) == 200
    digesting.switch("none")
    assert digesting.counted("differs") == before + 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda params: params.copy(), 200),
        (lambda params: params.pop("heteropd_kv_digest"), 500),
        (lambda params: params["heteropd_kv_digest"].update(heads="AAAA"), 500),
        (lambda params: params["heteropd_kv_digest"].update(key="17"), 500),
    ],
)
def test_a_digest_that_is_lost_or_damaged_on_the_way_is_no_pass(
    digesting: Digesting, change: Callable[[Any], object], status: int
) -> None:
    request = digesting.request(100, random.Random("lost"))
    assert digesting.hand_over(request, change).status_code == status


def test_what_was_never_transferred_is_no_ones_digest(digesting: Digesting) -> None:
    """A decode that computes the prompt itself answers right; validation says that no KV moved."""
    before = digesting.counted("equal")
    digesting.switch("recomputed")
    assert digesting.ask(200, random.Random(7)) == 200
    digesting.switch("none")
    assert digesting.counted("equal") == before


def test_a_prefill_that_dies_is_no_answer(digesting: Digesting) -> None:
    """Between its answer and the decode's fetch. The last of these tests: it is not started again."""
    [prefill] = [role for role in digesting.kit.status()["roles"] if role["name"].startswith("prefill")]
    family = [psutil.Process(prefill["pid"]), *psutil.Process(prefill["pid"]).children(recursive=True)]

    def die(_params: Any) -> None:
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=20)

    request, equal = digesting.request(200, random.Random("dies")), digesting.counted("equal")
    with contextlib.suppress(httpx.TimeoutException):  # that is no answer either
        assert digesting.hand_over(request, die).status_code >= 500
    assert digesting.counted("equal") == equal
