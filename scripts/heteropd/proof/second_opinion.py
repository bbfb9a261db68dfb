"""A probe that is beyond the noise is looked at once more, as a hand-over computes it.

The decode of a hand-over computes a prompt's last token in a step of its own, an engine alone together with
the prompt. In 16 bits that alone moves what comes next by 0.9 to 2.3 nats for some prompts of 2,042 tokens,
though every bit of KV is right (docs/evidence/proof.md). So the decode alone is asked for the same context
without its last token, and is allowed no other token than that one: it computes it in a step of its own, from
KV that is its own. What comes after it is what right KV gives.

Two different devices are as far apart on some short prompts, and the noise floor has half of the prompts. So
where that opinion does not help, the prefill alone is asked for a prompt that it has not had, and the prompt
is judged by the noise of its own.
"""

import secrets
from collections.abc import Sequence

from heteropd.engine_api.client import COMPLETIONS, AnswerProblem
from heteropd.engine_api.requests import greedy
from heteropd.engine_api.responses import Step, steps_of
from heteropd.proof.compare import compare, first_beyond, judge, worst
from heteropd.proof.concurrency import side_by_side
from heteropd.proof.integrity import Replies
from heteropd.proof.probes import Probe
from heteropd.proof.session import ProbeSession, Stalled
from heteropd.proof.verdict import ProbeResult

AGAINST = "decode, last token in a step of its own"
OWN_NOISE = "prefill, for the noise of this prompt"
_ID_PREFIX = "token_id:"


def reconsider(
    session: ProbeSession, probe: Probe, result: ProbeResult, replies: Replies, bound: float
) -> ProbeResult:
    """The result against the second opinion where that finds the answer right, else as it was.

    Asked is what follows the answer's tokens up to the first that is beyond ``bound`` (nats) of what the
    engines alone gave. What the answer has after that is compared with nothing: to no engine's KV was it
    written by the same steps.
    """
    routed = (replies.again if result.sent == "again" else replies.routed)[probe.index]
    compared = [compare(reply.steps, routed.steps) for reply in replies.references(probe.index).values()]
    beyond = [at for comparison in compared if (at := first_beyond(comparison, bound)) is not None]
    if not beyond:  # it failed for want of log-probabilities, which no opinion brings
        return result
    at = min(beyond)
    try:
        before = [int(step.token.removeprefix(_ID_PREFIX)) for step in routed.steps[:at]]
        (future,) = side_by_side([lambda: _next_token(session, [*probe.tokens, *before])], 1)
        session.gather([future])
        opinion = compare([future.result()], routed.steps[at : at + 1])
    except (AnswerProblem, Stalled, ValueError):
        return result
    outcome = judge(opinion, bound)
    if outcome not in ("equal", "tie"):
        return result
    nearer = [*(value for comparison in compared for value in comparison.known[:at]), *opinion.known]
    return result.model_copy(
        update={
            "outcome": outcome,
            "against": [*result.against, f"{AGAINST} (token {at + 1})"],
            "first_distance": result.distance,
            "distance": max(nearer),
            "mean": sum(nearer) / len(nearer),
            "diverged_at": None,
            "gap": None,
        }
    )


def judge_by_own_noise(
    session: ProbeSession, probe: Probe, result: ProbeResult, replies: Replies, most: float
) -> ProbeResult:
    """The result by how far the engines alone are apart on its prompt; as it was where the floor has that, or
    where it is more than ``most`` (nats)."""
    decode = replies.decode.get(probe.index)
    if probe.index in replies.prefill or decode is None:
        return result
    asked = session.settings.probes
    body = greedy(
        session.plan.model, probe.tokens, asked.max_tokens, asked.top_logprobs, secrets.token_hex(8)
    )
    try:
        (future,) = side_by_side([lambda: steps_of(session.prefills[0].post(COMPLETIONS, body))], 1)
        session.gather([future])
        prefill = future.result()
    except (AnswerProblem, Stalled):
        return result
    own = compare(prefill, decode.steps).largest
    if own is None or own > most:
        return result
    routed = (replies.again if result.sent == "again" else replies.routed)[probe.index].steps
    bound = session.settings.noise.times_largest * own
    outcome = worst(judge(compare(alone, routed), bound) for alone in (prefill, decode.steps))
    if outcome not in ("equal", "tie"):
        return result
    update = {"outcome": outcome, "against": [*result.against, OWN_NOISE], "first_distance": result.distance}
    return result.model_copy(update=update)


def _next_token(session: ProbeSession, context: Sequence[int]) -> Step:
    """What follows ``context`` (token ids), whose last token is computed alone. Raises `AnswerProblem`."""
    engine, wanted = session.decodes[0], session.settings.probes.top_logprobs
    body = greedy(session.plan.model, context[:-1], 2, wanted, secrets.token_hex(8))
    steps = steps_of(engine.post(COMPLETIONS, {**body, "allowed_token_ids": [context[-1]]}))
    if len(steps) < 2 or not steps[1].top:
        raise AnswerProblem(f"{engine.name}: no second token with logprobs")
    top = dict(steps[1].top)
    if len(top) > wanted:
        del top[steps[1].token]  # the only one that it was allowed, listed though it is not likely
    return Step(max(top, key=top.__getitem__), top)
