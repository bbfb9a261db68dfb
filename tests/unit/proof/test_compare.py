"""The arithmetic of the comparison, on generations whose faults are known because they were put there."""

import math
import random
from functools import cache

import pytest

from heteropd.config.validation import Noise, NoiseLimits
from heteropd.engine_api.responses import Step
from heteropd.proof.compare import (
    Comparison,
    compare,
    distance,
    first_beyond,
    floor_of,
    judge,
    run_statistic,
    worst,
)

VOCABULARY = 48
NOISE = Noise(times_largest=4, times_median=2.5)
FLOAT32 = NoiseLimits(least_position=1e-3, least_run=2e-4, most_median=2e-3, most_position=2e-2)
BFLOAT16 = NoiseLimits(least_position=0.15, least_run=0.04, most_median=0.2, most_position=1.5)


@cache
def generation(seed, noise=0.0, shift=0.0, *, noise_seed=0, positions=8, top=20):
    """Greedy steps from random logits; ``noise`` is rounding, ``shift`` a fault."""
    truth, rounding, fault = random.Random(seed), random.Random(noise_seed), random.Random("fault")
    steps = []
    for _ in range(positions):
        logits = [
            truth.gauss(0, 3) + rounding.gauss(0, noise) + fault.gauss(0, shift) for _ in range(VOCABULARY)
        ]
        total = math.log(sum(map(math.exp, logits)))
        ranked = sorted(range(VOCABULARY), key=lambda token: -logits[token])[:top]
        steps.append(Step(str(ranked[0]), {str(token): logits[token] - total for token in ranked}))
    return steps


def floor(sigma, limits, probes=12):
    pairs = [
        compare(generation(n, sigma, noise_seed=f"p{n}"), generation(n, sigma, noise_seed=f"d{n}"))
        for n in range(probes)
    ]
    return floor_of(pairs, [], "any", NOISE, limits)


def test_identical_generations_are_equal_at_no_distance():
    one = generation(1)
    found = compare(one, one)
    assert found == Comparison(None, None, (0.0,) * 8)
    assert judge(found, 1e-9) == "equal"


def test_a_token_outside_the_other_list_counts_with_what_is_proven():
    # c is at most -3 in the other list, so it differs by at least 2.
    assert distance({"a": -0.5, "b": -2.0, "c": -1.0}, {"a": -0.5, "b": -2.0, "d": -3.0}) == pytest.approx(
        2.0
    )


def test_a_different_tail_within_noise_is_not_a_difference():
    assert distance({"a": -0.5, "b": -4.0001}, {"a": -0.5, "c": -4.0}) == pytest.approx(0.0, abs=2e-4)


def test_disjoint_lists_are_far_apart():
    assert distance({"a": -0.1, "b": -5.0}, {"c": -0.1, "d": -5.0}) == pytest.approx(4.9)


@pytest.mark.parametrize("broken", [math.nan])
def test_not_a_number_is_infinitely_far(broken):
    assert distance({"a": broken}, {"a": -1.0}) == math.inf
    assert judge(compare([Step("a", {"a": broken})], [Step("a", {"a": -1.0})]), 1e6) == "far"


def test_missing_log_probabilities_are_unknown_and_never_a_tie():
    bare = [Step("a", {}), Step("b", {})]
    assert judge(compare(bare, bare), 1.0) == "unknown"
    assert judge(compare(bare, [Step("a", {}), Step("c", {})]), 1.0) == "diverged"


def test_nothing_compared_is_not_equal():
    assert judge(compare([], []), 1.0) == "unknown"
    assert judge(compare(generation(1), []), 1.0) == "diverged"


def test_a_shorter_answer_diverges():
    one = generation(1)
    found = compare(one, one[:5])
    assert found.diverged_at == 5
    assert judge(found, 100.0) == "diverged"


def test_comparison_ends_at_the_first_different_token():
    one, other = generation(1), generation(1)[:3] + generation(2)[3:]
    found = compare(one, other)
    assert found.diverged_at == 3
    assert len(found.distances) == 4


def tied(gap):
    return [Step("a", {"a": -0.7, "b": -0.7 - gap})], [
        Step("b", {"a": -0.7 - gap / 2, "b": -0.7 - gap / 2 + 1e-9})
    ]


@pytest.mark.parametrize(
    ("gap", "bound", "expected"),
    [
        (0.0, 1e-6, "tie"),  # exactly equal top two, as bfloat16 gives them
        (1e-4, 1e-3, "tie"),
        (0.5, 1e-3, "diverged"),
        (0.5, 0.3, "tie"),
        (0.5, 0.2, "diverged"),
    ],
)
def test_a_divergence_is_a_tie_only_inside_the_bound(gap, bound, expected):
    assert judge(compare(*tied(gap)), bound) == expected


def test_a_divergence_after_distributions_parted_is_not_a_tie():
    near = [Step("x", {"x": -0.1, "y": -3.0})]
    far = [Step("x", {"x": -0.6, "y": -1.0})]
    found = compare(near + tied(0.0)[0], far + tied(0.0)[1])
    assert judge(found, 0.1) == "diverged"


def test_a_token_the_reference_never_listed_is_not_a_tie():
    assert (
        judge(compare([Step("a", {"a": -0.1, "b": -0.2})], [Step("z", {"z": -0.1, "a": -0.2})]), 10.0)
        == "diverged"
    )


def test_no_noise_leaves_the_least_bounds():
    found = floor(0.0, FLOAT32)
    assert (found.median, found.maximum) == (0.0, 0.0)
    assert (found.position_bound, found.run_bound) == (FLOAT32.least_position, FLOAT32.least_run)


def test_noise_sets_the_bounds_above_the_least():
    found = floor(0.1, BFLOAT16)
    assert found.positions >= 24
    assert found.position_bound == pytest.approx(4 * found.maximum)
    assert found.run_bound == pytest.approx(2.5 * found.median)
    assert found.median < found.p90 <= found.maximum


def test_an_unmeasured_floor_has_no_bounds():
    found = floor_of([compare([], [])], [], "float32", NOISE, FLOAT32)
    assert (found.positions, found.position_bound, found.run_bound) == (0, None, None)


def test_noise_of_one_engine_against_itself_sets_the_bounds_too():
    cold, warm = generation(1), generation(1, 0.1, noise_seed="warm")
    found = floor_of([compare(cold, cold)], [compare(cold, warm)], "bfloat16", NOISE, BFLOAT16)
    assert (found.median, found.maximum) == (0.0, 0.0)
    assert (found.warm_probes, found.position_bound) == (1, pytest.approx(4 * found.warm_maximum))
    assert found.run_bound == pytest.approx(2.5 * found.warm_median)


@pytest.mark.parametrize(("sigma", "limits"), [(1e-5, FLOAT32), (0.02, BFLOAT16), (0.1, BFLOAT16)])
def test_no_false_alarm_in_clean_runs(sigma, limits):
    bounds = floor(sigma, limits)
    alarms = 0
    for run in range(40):
        pairs = [
            compare(generation(n, sigma, noise_seed=f"d{n}"), generation(n, sigma, noise_seed=f"x{run}.{n}"))
            for n in (run % 12, (run + 5) % 12)
        ]
        alarms += any(judge(one, bounds.position_bound) not in ("equal", "tie") for one in pairs)
    assert alarms == 0


@pytest.mark.parametrize(
    ("sigma", "limits", "shift"),
    [
        (1e-5, FLOAT32, 2e-3),  # a fault 200 times smaller than bfloat16's rounding is seen in float32
        (1e-5, FLOAT32, 1.0),
        (0.05, BFLOAT16, 1.0),
    ],
)
def test_a_fault_in_one_probe_is_seen(sigma, limits, shift):
    bounds = floor(sigma, limits)
    found = compare(generation(3, sigma, noise_seed="d3"), generation(3, sigma, shift, noise_seed="x"))
    assert judge(found, bounds.position_bound) in ("far", "diverged")


def test_a_small_fault_in_every_probe_moves_the_run_though_no_probe_alone_is_out():
    sigma = 0.05
    bounds = floor(sigma, BFLOAT16)
    pairs = [
        compare(generation(n, sigma, noise_seed=f"d{n}"), generation(n, sigma, 0.2, noise_seed=f"x{n}"))
        for n in range(24)
    ]
    kept = [one for one in pairs if judge(one, bounds.position_bound) in ("equal", "tie")]
    assert kept, "the fault is meant to be small"
    assert run_statistic(pairs) > bounds.run_bound


def test_the_worst_outcome_speaks_for_the_probe():
    assert worst(["equal", "tie"]) == "tie"
    assert worst(["far", "equal"]) == "far"
    assert worst(["diverged", "error"]) == "error"
    assert worst([]) == "unknown"


@pytest.mark.parametrize(
    ("distances", "diverged_at", "gap", "at"),
    [
        ((0.1, 0.2), None, None, None),
        ((0.1, 1.5, 2.0), None, None, 1),
        ((0.1, 0.2), 1, 1.9, None),
        ((0.1, 0.2), 1, 2.1, 1),
        ((0.1, None, 0.2), 2, None, 2),
    ],
)
def test_the_first_position_beyond_a_bound(distances, diverged_at, gap, at):
    assert first_beyond(Comparison(diverged_at, gap, distances), 1.0) == at
