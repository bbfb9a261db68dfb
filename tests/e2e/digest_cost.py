"""What the KV digest costs: times to the first token of prompts that it takes and that it leaves out.

Not a test, since it asserts nothing. One topology with ``digest=enforce digest_sample=0.5``, so that both
kinds meet the same engines in the same minute; the prefill's answer says which kind a prompt is:

    .nox/dev/bin/python tests/e2e/digest_cost.py case1 60 [NAME=VALUE …]

Sends so many prompts of each length, from prefill to decode as a router would, and prints medians in
milliseconds with their ratio.
"""

from __future__ import annotations

import random
import sys
import time
from statistics import median

import httpx
from e2e_kit import PLAN_WORDS, ROOT, kit, port_words

from heteropd import topology
from heteropd.config.machine import probe
from heteropd.engine_api.requests import HANDOVER, greedy, prefill_request
from heteropd.plan.model import Plan
from plan_words import make

LENGTHS = (64, 256, 512, 1024)
FIELD = "heteropd_kv_digest"


def first_token(plan: Plan, client: httpx.Client, length: int) -> tuple[bool, float]:
    """Whether the prompt was digested, and the milliseconds."""
    [prefill], [decode] = plan.of("prefill"), plan.of("decode")
    prompt = [random.randrange(100, 40000) for _ in range(length)]
    request = greedy(plan.model, prompt, 1, 1, str(random.random()))
    began = time.perf_counter()
    answer = client.post(f"{prefill.url}/v1/completions", json=prefill_request(request)).raise_for_status()
    handed = answer.json()[HANDOVER]
    client.post(f"{decode.url}/v1/completions", json=request | {HANDOVER: handed}).raise_for_status()
    return handed[FIELD] is not None, (time.perf_counter() - began) * 1000


def main() -> None:
    case, count, *words = sys.argv[1:]
    PLAN_WORDS.extend(words)
    with kit() as one, httpx.Client(timeout=120) as client:
        plan = make([case, "digest=enforce", "digest_sample=0.5", *port_words()], ROOT, probe())
        topology.up(plan, one.context(plan))
        for length in LENGTHS:
            times: dict[bool, list[float]] = {True: [], False: []}
            for turn in range(-4, int(count)):  # some to warm up
                digested, took = first_token(plan, client, length)
                times[digested] += [took] if turn >= 0 else []
            taken, left = median(times[True]), median(times[False])
            kinds = f"{len(times[True])} digested: {taken:.1f}, {len(times[False])} left out: {left:.1f}"
            print(f"{case}, {length} tokens: {kinds}, ratio {taken / left:.3f}", flush=True)


if __name__ == "__main__":
    main()
