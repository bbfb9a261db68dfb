"""A probe that is beyond the noise is looked at once more, as a hand-over computes it.

The decode of a hand-over computes a prompt's last token in a step of its own, an engine alone together with
the prompt. In 16 bits that alone moves what comes next by 0.9 to 2.3 nats for a few prompts of 2,042 tokens in
a hundred, though every bit of KV is right (docs/evidence/proof.md). So the decode alone is asked for the same
context without its last token, and is allowed no other token than that one: it computes it in a step of its
own, from KV that is its own. What comes after it is what right KV gives.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial

from heteropd.engine_api.client import COMPLETIONS, AnswerProblem, Endpoint
from heteropd.engine_api.requests import greedy
from heteropd.engine_api.responses import Step, steps_of
from heteropd.proof.compare import compare, judge, worst
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.probes import Probe
from heteropd.proof.session import ProbeSession, Stalled
from heteropd.proof.verdict import ProbeResult

AGAINST = "decode, last token in a step of its own"
_ID_PREFIX = "token_id:"


class SecondOpinion:
    """Asks the first decode alone; ``bound`` is in nats."""

    def __init__(self, session: ProbeSession, bound: float) -> None:
        self.session, self.bound = session, bound

    def reconsider(self, probe: Probe, result: ProbeResult, routed: Sequence[Step]) -> ProbeResult:
        """The result against the second opinion; as it was where there is none."""
        try:
            ids = [int(step.token.removeprefix(_ID_PREFIX)) for step in routed]
            contexts = [(*probe.tokens, *ids[:at]) for at in range(len(ids))]
            futures = side_by_side([partial(self._next_token, context) for context in contexts], 1)
            self.session.gather(futures)
            opinions = [future.result() for future in futures]
        except (AnswerProblem, Stalled, ValueError):
            return result
        compared = [compare([own], [step]) for own, step in zip(opinions, routed, strict=True)]
        distances = [value for comparison in compared for value in comparison.known]
        outcome = worst(judge(comparison, self.bound) for comparison in compared)
        if outcome not in ("equal", "tie") or len(distances) < len(routed):
            return result
        return result.model_copy(
            update={
                "outcome": outcome,
                "against": [AGAINST],
                "first_distance": result.distance,
                "distance": max(distances),
                "mean": sum(distances) / len(distances),
                "diverged_at": None,
                "gap": None,
            }
        )

    def _next_token(self, context: Sequence[int]) -> Step:
        """What follows ``context`` (ids), whose last token is computed alone. Raises `AnswerProblem`."""
        session, probes = self.session, self.session.settings.probes
        engine: Endpoint = session.decodes[0]
        body = greedy(session.plan.model, context[:-1], 2, probes.top_logprobs, secrets.token_hex(8))
        steps = steps_of(engine.post(COMPLETIONS, {**body, "allowed_token_ids": [context[-1]]}))
        if len(steps) < 2 or not steps[1].top:
            raise AnswerProblem(f"{engine.name}: no second token with logprobs")
        top = dict(steps[1].top)
        if len(top) > probes.top_logprobs:
            del top[steps[1].token]  # the only one that it was allowed, listed though it is not likely
        return Step(max(top, key=top.__getitem__), top)
