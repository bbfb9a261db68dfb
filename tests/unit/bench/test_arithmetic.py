"""What benchmarks compute from measurements: pure functions, and the words that change settings."""

from pathlib import Path

import pytest
from rich.console import Console

from heteropd.bench import bringup, engines, kv, router
from heteropd.bench.command import run
from heteropd.bench.figures import percentile, spread
from heteropd.bench.make import phases
from heteropd.bench.results import Aim, shown
from heteropd.config import bench
from heteropd.config.bench import BenchSettings
from heteropd.config.machine import Machine
from heteropd.errors import EXIT_BAD_INPUT, BadInput
from heteropd.topology import Context
from plan_words import arguments, make

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def chosen() -> BenchSettings:
    return bench.load(ROOT)


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 5), (99, 10), (10, 1), (11, 2), (0, 1), (100, 10), (90, 9), (91, 10)]
)
def test_percentiles_are_nearest_rank(percent: float, expected: int) -> None:
    assert percentile(list(range(1, 11)), percent) == expected


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_spread_is_half_the_range_over_the_median() -> None:
    assert spread([90, 100, 130]) == pytest.approx(0.2)
    assert spread([7.0]) == 0


@pytest.mark.parametrize(
    ("direction", "value", "met"),
    [("at least", 10.0, True), ("at least", 9.99, False), ("at most", 1.15, False), ("at most", 1.1, True),
     ("at least", None, None)],
)  # fmt: skip
def test_a_target_says_whether_it_is_met(direction: str, value: float | None, met: bool | None) -> None:
    aim = 10.0 if direction == "at least" else 1.1
    target = Aim.model_validate({"name": "x", "direction": direction, "aim": aim, "value": value})
    assert target.met is met
    assert target.model_dump()["met"] is met


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (0.01234, "0.0123"), (None, "-"), ("router", "router"), (3, "3")]
)
def test_cells(value: object, text: str) -> None:
    assert shown(value) == text


def given(*words: str) -> dict[str, str | bool]:
    found: dict[str, str | bool] = arguments("bench", "router", *words)["given"]
    return found


def test_words_change_settings(chosen: BenchSettings) -> None:
    changed = bench.changed(chosen.router, given("rounds=5", "clients=2,4", "--measure_s=1.5"))
    assert (changed.rounds, changed.clients, changed.measure_s) == (5, [2, 4], 1.5)
    assert changed.throughput_ratio == chosen.router.throughput_ratio
    assert bench.changed(chosen.bringup, given("cold=1")).cold is True
    assert bench.changed(chosen.bringup, given("case=case2")).case == "case2"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("rounds=0", "rounds"),
        ("rounds=many", "rounds"),
        ("rounds=1.5", "rounds"),
        ("rounds=", "rounds"),
        ("clients=1,x", "clients"),
        ("clients=", "clients"),
        ("measure_s=0", "measure_s"),
        ("roundz=3", "rounds"),
        ("rounds=[", "rounds"),
        ("quickly", "quickly"),
    ],
)
def test_a_wrong_word_is_one_line(chosen: BenchSettings, word: str, said: str) -> None:
    with pytest.raises(BadInput) as stop:
        bench.changed(chosen.router, given(word))
    assert "\n" not in str(stop.value)
    assert said in str(stop.value)
    assert "command line" in str(stop.value)


def test_a_word_given_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="given twice"):
        given("rounds=1", "rounds=2")


@pytest.mark.parametrize("words", [[], ["routers"], ["router", "engines"], ["rounds=3"]])
def test_exactly_one_benchmark_must_be_named(words: list[str]) -> None:
    with pytest.raises(BadInput, match=r"what: ") as stop:
        run(
            **arguments("bench", *words),
            context=Context(ROOT, Console()),
            prepare=lambda: pytest.fail("something was made"),
        )
    assert stop.value.exit_code == EXIT_BAD_INPUT


def _cell(way: str, clients: int, rate: float, **more: float) -> dict[str, object]:
    zeros = dict.fromkeys(router.MEDIANS, 0.0)
    return {"round": 0, "way": way, "clients": clients, **zeros, "req/s": rate, **more}


def test_router_rows_are_medians_and_targets_compare_them() -> None:
    rounds = [_cell("proxy", 16, rate) for rate in (90.0, 100.0, 500.0)]
    rounds += [_cell("router", 16, rate) for rate in (1100.0, 100.0, 1000.0)]
    rounds += [_cell("proxy", 1, 100.0), _cell("router", 1, 900.0), _cell("direct", 1, 9e3)]
    rows = router.summary(rounds)
    assert [(row["clients"], row["way"], row["req/s"]) for row in rows] == [
        (1, "direct", 9e3),
        (1, "proxy", 100.0),
        (1, "router", 900.0),
        (16, "proxy", 100.0),
        (16, "router", 1000.0),
    ]
    targets = router.aims(rows, 10.0)
    assert [(aim.value, aim.met) for aim in targets] == [(9.0, False), (10.0, True)]


@pytest.mark.parametrize(
    ("cell", "rounds", "said"),
    [
        (_cell("router", 64, 1.0, **{"CPU load": 0.95}), 1, "lower bounds"),
        (_cell("router", 64, 1.0, **{"CPU load": 0.3}), 1, "at most 0.30"),
        (_cell("router", 64, 1.0, **{"CPU others": 0.7}), 1, "0.70 cores"),
        (_cell("router", 64, 1.0), 3, "1 of 3 rounds"),
    ],
)
def test_router_notes(cell: dict[str, object], rounds: int, said: str, chosen: BenchSettings) -> None:
    wanted = bench.changed(chosen.router, {"rounds": str(rounds)})
    assert said in " ".join(router.notes(router.summary([cell]), [cell], wanted))


def test_an_idle_machine_and_a_lazy_load_give_no_warning(chosen: BenchSettings) -> None:
    cell = _cell("router", 64, 1.0, **{"CPU others": 0.1, "CPU load": 0.2})
    said = " ".join(router.notes([cell], [cell], bench.changed(chosen.router, {"rounds": "1"})))
    assert "others" not in said
    assert "lower bounds" not in said


def test_engines_are_compared_with_each_alone_and_with_one_on_all_cores() -> None:
    rates = {
        "a alone": (10.0, 12.0),
        "b alone": (20.0, 20.0),
        engines.BOTH: (27.0, 27.0),
        engines.WHOLE: (36.0,),
    }
    rounds = [
        {
            "round": 0,
            "engines": name,
            "cores": "0",
            "clients": 4,
            "tokens/s": rate,
            "each": [rate],
            "CPU engines": 1.0,
            "CPU others": 0.0,
        }
        for name, measured in rates.items()
        for rate in measured
    ]
    rows = engines.summary(rounds)
    assert [row["tokens/s"] for row in rows] == [11.0, 20.0, 27.0, 36.0]
    targets = engines.aims(rows, ["a", "b"], 0.9)
    assert [aim.value for aim in targets] == [pytest.approx(27 / 31), 0.75]
    assert [aim.met for aim in targets] == [False, False]


def test_an_engine_that_made_nothing_in_time_is_no_ratio() -> None:
    rows = [{"engines": name, "tokens/s": 0.0} for name in ("a alone", engines.BOTH, engines.WHOLE)]
    assert [aim.met for aim in engines.aims(rows, ["a"], 0.9)] == [None, None]


def test_one_engine_gets_the_cores_of_all() -> None:
    plan = make(["case1"], ROOT, Machine(cores=[0, 1, 2, 3]))
    assert {core for role in plan.engines for core in role.cores} == {0, 1, 2, 3}
    whole = engines.on_all_cores(plan)
    assert whole.cores == [0, 1, 2, 3]
    assert whole.env[engines.BIND] == "0,1,2,3"
    assert engines.BIND in plan.engines[0].env, "the plan binds engines by another variable now"


def test_bring_up_is_the_median_over_the_bare_start(chosen: BenchSettings) -> None:
    rounds: list[dict[str, object]] = [
        {"what": "bare", bringup.BARE: seconds} for seconds in (40.0, 50.0, 90.0)
    ]
    rounds += [
        {"what": "make", bringup.READY: 55.0, bringup.VERDICT: seconds} for seconds in (80.0, 90.0, 95.0)
    ]
    rows = bringup.summary(rounds)
    assert [row["over bare"] for row in rows] == [1.0, pytest.approx(1.1), pytest.approx(1.8)]
    assert [aim.met for aim in bringup.aims(rows, chosen.bringup)] == [True, False]


def test_phases_are_differences_in_order_of_time() -> None:
    assert phases({"ready": 50.0, "started": 2.0, "exit": 80.0}) == {
        "started": 2.0, "ready": 48.0, "exit": 30.0,
    }  # fmt: skip


def hand_over(tokens: int, seconds: float, descriptors: int = 30) -> kv.Round:
    figures = {"block": 16, "tokens": tokens, "MB": tokens / 100, "descriptors": descriptors}
    return {**figures, "transfer s": seconds, "of TTFT": seconds / 2}


def test_hand_overs_are_summed_up_by_length_without_the_first_which_connects() -> None:
    short_ones = [hand_over(100, seconds) for seconds in (9.0, 0.1, 0.2, 0.3)]
    short, long = kv.summary([*short_ones, hand_over(500, 1.0)])
    assert (short["transfer s"], short["MB/s"]) == (pytest.approx(0.2), pytest.approx(5.0))
    assert long["MB/s"] == pytest.approx(5.0), "a single one counts"
    compared = kv.with_raw([short, long], [0.1, 0.95])
    assert [row["ratio"] for row in compared] == [pytest.approx(0.5), pytest.approx(0.95)]
    [aim] = kv.aims(compared, 0.9)
    assert (aim.value, aim.met) == (pytest.approx(0.95), True), "the longest prompt is what is aimed with"


@pytest.mark.parametrize(("case", "side"), [("case1", "prefill"), ("case2", "decode")])
def test_blocks_are_set_where_those_that_travel_are_made(case: str, side: str, chosen: BenchSettings) -> None:
    settings = chosen.kv.model_copy(update={"case": case, "standin": "gaudi"})
    plan = kv.plan_of(settings, 32, ROOT)
    [role] = plan.of(side)  # type: ignore[arg-type]
    assert role.kv is not None
    assert role.kv.block_size == 32
    assert list(plan.real.values()) == ["cuda"]
