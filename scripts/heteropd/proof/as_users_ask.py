"""Are the answers that users get the engines' own? The same requests, through the router and of each alone.

Probes carry ids, a salt and ignore_eos; a fault that strikes only what lacks these would not be seen in them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from heteropd.engine_api.requests import Json
from heteropd.engine_api.responses import EngineResponse, Step, steps_of, text_of
from heteropd.proof.api_requests import Answer, ApiAnswers, ApiKind
from heteropd.proof.compare import compare, judge
from heteropd.proof.connectivity import streamed_text
from heteropd.proof.verdict import Check, Outcome, checked, skipped

_GOOD: tuple[Outcome, ...] = ("equal", "tie")
_EARLIER = 3  # tokens before the first different character, in which another split may have begun


def checks(answers: ApiAnswers, alone: Mapping[str, Mapping[ApiKind, Answer]], bound: float) -> list[Check]:
    """One for each kind of request. ``alone`` is by engine; ``bound`` is in nats."""
    return [
        _check(kind, answers, {name: kinds[kind] for name, kinds in alone.items()}, bound)
        for kind in answers.plain
    ]


def _check(kind: ApiKind, answers: ApiAnswers, alone: Mapping[str, Answer], bound: float) -> Check:
    check_id = f"integrity.{kind}"
    got = {"plain": answers.plain[kind], "streamed": answers.streamed.get(kind)}
    if kind == "document":
        got["word for word"] = answers.document
    lost = [f"{name} alone: {answer}" for name, answer in alone.items() if isinstance(answer, str)]
    if lost:
        return checked(check_id, lost[0], "", fix="read the log of that engine (make logs)")
    if any(isinstance(answer, str) for answer in got.values()):
        text = "there was no answer to compare: see the connectivity group"
        return skipped(check_id, text, essential=True)
    outcomes: dict[str, Outcome] = {}
    for way, answer in got.items():
        for name, reference in alone.items():
            if answer is not None and not isinstance(reference, str):
                outcomes[f"{way} against {name}"] = _outcome(way, answer, reference, bound)
    wrong = [where for where, outcome in outcomes.items() if outcome not in _GOOD]
    ties = sum(outcome == "tie" for outcome in outcomes.values())
    text = f"{len(outcomes) - len(wrong)} of {len(outcomes)} comparisons give the engines' own answers"
    text += f", {ties} of them up to a tie" if ties else ""
    return checked(
        check_id,
        f"{text}, but not {', '.join(wrong)}" if wrong else None,
        text,
        {"outcomes": [f"{where}: {outcome}" for where, outcome in outcomes.items()], "bound": bound},
        "the KV of requests as users send them is wrong, where that of probes may be right: which differ in "
        "ids, cache_salt and ignore_eos; read the logs of the connector",
    )


def _outcome(way: str, answer: Any, reference: Json, bound: float) -> Outcome:
    if way == "word for word":
        return judge_text(text_of(answer), reference, bound)
    streamed = isinstance(answer, EngineResponse)
    steps = answer.steps if streamed else steps_of(answer)
    text = streamed_text(answer) if streamed else text_of(answer)
    own = steps_of(reference)
    if not (steps and own):
        return "equal" if text == text_of(reference) else "diverged"
    # The document's reference goes on for longer than what is compared with it.
    return judge(compare(own[: len(steps)] if way == "plain" else own, steps), bound)


def judge_text(text: str, reference: Json, bound: float) -> Outcome:
    """A text without log-probabilities, against an engine's own answer that has them, or its beginning.

    Where they part, the reference's alternatives say whether the other text's token was as likely.
    """
    own, choice = text_of(reference), (reference.get("choices") or [{}])[0]
    if text == own or (own and text.startswith(own) and choice.get("finish_reason") == "length"):
        return "equal"
    offsets = (choice.get("logprobs") or {}).get("text_offset") or []
    steps = steps_of(reference)
    if len(offsets) != len(steps) or not steps:
        return "diverged"
    starts = [offset - offsets[0] for offset in offsets]
    parted = next((at for at, (a, b) in enumerate(zip(text, own, strict=False)) if a != b), None)
    if parted is None:
        return "diverged"  # one goes on where the other has ended
    last = max(index for index, start in enumerate(starts) if start <= parted)
    # A character that several tokens spell cannot be recognised: any alternative may have been it.
    spelt = not (text[parted] + own[parted]).isascii()
    gaps = [
        gap
        for index in range(max(0, last - _EARLIER), last + 1)
        for gap in _gaps(steps[index], "" if spelt and index == last else text[starts[index] :])
    ]
    return "tie" if min(gaps, default=float("inf")) <= 2 * bound else "diverged"


def _gaps(step: Step, rest: str) -> Sequence[float]:
    """How much likelier the reference found its own token than each alternative with which ``rest`` begins,
    or than any where there is no ``rest``."""
    others = {token: value for token, value in step.top.items() if token != step.token}
    if rest:
        others = {token: value for token, value in others.items() if token and rest.startswith(token)}
    own = step.top.get(step.token)
    return [] if own is None else [own - value for value in others.values()]
