"""What the KV digest costs: times to the first token with ``digest=off`` and ``digest=enforce``, in turn.

Not a test, since it asserts nothing; both topologies run at once, each idle while the other is asked:

    .nox/dev/bin/python tests/e2e/digest_cost.py case1 15 [NAME=VALUE …]

Prints medians of so many prompts of each length, in milliseconds, and their ratio. Each pair's engine gets a
third of a GPU.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import ExitStack
from statistics import median

import httpx
from e2e_kit import PLAN_WORDS, ROOT, Kit, kit, port_words

from heteropd import topology
from heteropd.config.machine import probe
from heteropd.engine_api.requests import greedy
from heteropd.plan.model import Plan
from plan_words import make

LENGTHS = (64, 256, 512, 1024)
SHARE = "--gpu-memory-utilization"


def bring_up(one: Kit, case: str, digest: str) -> Plan:
    plan = make([case, f"digest={digest}", *port_words()], ROOT, probe())
    for role in plan.roles:
        if SHARE in role.argv and not role.standin:
            role.argv[role.argv.index(SHARE) + 1] = "0.3"
    topology.up(plan, one.context(plan))
    return plan


def first_token_ms(plan: Plan, length: int, seed: str) -> float:
    generator = random.Random(seed)
    prompt = [generator.randrange(100, 40000) for _ in range(length)]
    body = greedy(plan.model, prompt, 1, 1, str(generator.random()))
    began = time.perf_counter()
    httpx.post(f"{plan.router.url}/v1/completions", json=body, timeout=120).raise_for_status()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    case, rounds, *words = sys.argv[1:]
    PLAN_WORDS.extend(words)
    with ExitStack() as stack:
        plans = {digest: bring_up(stack.enter_context(kit()), case, digest) for digest in ("off", "enforce")}
        for length in LENGTHS:
            times: dict[str, list[float]] = {digest: [] for digest in plans}
            for turn in range(-2, int(rounds)):  # two to warm up
                for digest in sorted(plans, reverse=turn % 2 == 0):
                    took = first_token_ms(plans[digest], length, f"{length} {digest} {turn}")
                    times[digest] += [took] if turn >= 0 else []
            off, enforce = median(times["off"]), median(times["enforce"])
            print(
                f"{case}, {length} tokens: off {off:.1f}, enforce {enforce:.1f}, {enforce / off:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
