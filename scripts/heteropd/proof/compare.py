"""How two greedy generations are compared: pure arithmetic on log-probabilities, explained in docs/proof.md.

A step is one generated token with the engine's top-k log-probabilities (nats) at that position. Two
generations are comparable up to and including their first different token: until then the context is the
same, after it nothing is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from heteropd.config.validation import Noise, NoiseLimits
from heteropd.engine_api.responses import Step
from heteropd.proof.verdict import Floor, Outcome


@dataclass(frozen=True)
class Comparison:
    """A candidate against a reference.

    ``distances`` holds one number per aligned position, None where either side gave no log-probabilities.
    ``gap`` (at the divergence) is None when there is no divergence, and infinite when the candidate's token
    is not even among the reference's top k, or the other way round.
    """

    diverged_at: int | None
    gap: float | None
    distances: tuple[float | None, ...]

    @property
    def known(self) -> list[float]:
        return [value for value in self.distances if value is not None]

    @property
    def largest(self) -> float | None:
        return max(self.known, default=None)

    @property
    def mean(self) -> float | None:
        return sum(self.known) / len(self.known) if self.known else None


def distance(one: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """The largest |Δ log p| that the two top-k lists prove, over the union of their tokens.

    A token listed on one side only has at most the other side's smallest listed probability there, which
    bounds its difference from below. So no minimum overlap has to be chosen: disjoint lists are far apart
    by themselves. Not-a-number on either side is infinitely far. None when a list is empty.
    """
    if not one or not other:
        return None
    if any(math.isnan(value) for value in (*one.values(), *other.values())):
        return math.inf
    least_one, least_other = min(one.values()), min(other.values())
    both = [abs(one[token] - other[token]) for token in one.keys() & other.keys()]
    only_one = [one[token] - least_other for token in one.keys() - other.keys()]
    only_other = [other[token] - least_one for token in other.keys() - one.keys()]
    return max(0.0, *both, *only_one, *only_other)


def compare(reference: Sequence[Step], candidate: Sequence[Step]) -> Comparison:
    """Align two generations of the same prompt. A missing step counts as a divergence without a tie."""
    distances: list[float | None] = []
    for position, (ref, cand) in enumerate(zip(reference, candidate, strict=False)):
        distances.append(distance(ref.top, cand.top))
        if ref.token != cand.token:
            return Comparison(position, _gap(ref, cand), tuple(distances))
    if len(reference) != len(candidate):
        return Comparison(min(len(reference), len(candidate)), math.inf, tuple(distances))
    return Comparison(None, None, tuple(distances))


def _gap(ref: Step, cand: Step) -> float | None:
    if not ref.top or not cand.top:
        return None
    if cand.token not in ref.top or ref.token not in cand.top or ref.token not in ref.top:
        return math.inf
    return ref.top[ref.token] - ref.top[cand.token]


def judge(comparison: Comparison, bound: float) -> Outcome:
    """What one comparison means, given the largest difference that noise explains (nats).

    If every log-probability may be off by ``bound``, two tokens may change places only where they are less
    than twice that apart; so a divergence inside the bound *is* a tie, and needs no threshold of its own.
    """
    if not comparison.distances or len(comparison.known) < len(comparison.distances):
        return "unknown" if comparison.diverged_at is None else "diverged"
    near = all(value <= bound for value in comparison.known)
    if comparison.diverged_at is None:
        return "equal" if near else "far"
    tied = comparison.gap is not None and comparison.gap <= 2 * bound
    return "tie" if near and tied else "diverged"


def first_beyond(comparison: Comparison, bound: float) -> int | None:
    """The first position that ``bound`` does not explain, None where it explains all that is known."""
    for position, value in enumerate(comparison.distances):
        if value is not None and value > bound:
            return position
    tied = comparison.gap is not None and comparison.gap <= 2 * bound
    return None if tied else comparison.diverged_at


def floor_of(
    between: Iterable[Comparison], warm: Iterable[Comparison], dtype: str, noise: Noise, limits: NoiseLimits
) -> Floor:
    """The noise floor from prefill alone against decode alone, and from each against itself when most of a
    prompt is in its prefix cache; and the two bounds that follow from both."""
    used = [pair for pair in between if pair.known]
    again = [pair for pair in warm if pair.known]
    distances = sorted(value for pair in used for value in pair.known)
    largest = [value for value in (max(distances, default=None), _largest(again)) if value is not None]
    medians = [value for value in (run_statistic(used), run_statistic(again)) if value is not None]
    p90 = quantiles(distances, n=10)[-1] if len(distances) > 1 else max(distances, default=None)
    return Floor(
        dtype=dtype,
        probes=len(used),
        positions=len(distances),
        median=run_statistic(used),
        p90=p90,
        maximum=max(distances, default=None),
        warm_probes=len(again),
        warm_median=run_statistic(again),
        warm_maximum=_largest(again),
        position_bound=max(limits.least_position, noise.times_largest * max(largest)) if used else None,
        run_bound=max(limits.least_run, noise.times_median * max(medians)) if used else None,
    )


def _largest(pairs: Iterable[Comparison]) -> float | None:
    return max((value for pair in pairs for value in pair.known), default=None)


def run_statistic(pairs: Iterable[Comparison]) -> float | None:
    """The median over probes of the mean difference of a probe: one number for a whole run (nats)."""
    means = [pair.mean for pair in pairs if pair.mean is not None]
    return median(means) if means else None


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of a probe that was compared with several references."""
    order: tuple[Outcome, ...] = ("equal", "tie", "unknown", "far", "diverged", "error")
    return max(outcomes, key=order.index, default="unknown")
