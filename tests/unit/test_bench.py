import json
import statistics

import pytest

from ops.bench.__main__ import parser, plan_of
from ops.bench.figures import Figure, Figures, mean_of_histogram, percentile, tidy
from ops.bench.report import document, targets
from ops.bench.run import CASES, Outcome, Plan, make_orders
from ops.soak.memory import problems, summarise
from ops.soak.plan import FULL_PLAN, schedule
from ops.soak.plan import plan_of as faults_of


def plan(*words: str) -> Plan:
    return plan_of(parser().parse_args(list(words)))


def figures(**values: list[float]) -> Figures:
    found = Figures()
    for name, each in values.items():
        for value in each:
            found.add(name, value)
    return found


def test_a_figure_is_the_median_of_its_rounds_with_their_spread():
    assert Figure.of([30.0, 10.0, 20.0]) == Figure(median=20.0, low=10.0, high=30.0)
    assert Figure.of([30.0, 10.0]).median == 20.0


def test_no_round_gives_no_figure():
    with pytest.raises(statistics.StatisticsError):
        Figure.of([])


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (1, 1.0), (50, 50.0), (50.5, 51.0), (99, 99.0), (100, 100.0)]
)
def test_a_percentile_is_a_value_that_was_measured(percent, expected):
    assert percentile([float(value) for value in range(100, 0, -1)], percent) == expected


def test_a_percentile_of_nothing_is_zero():
    assert percentile([], 99) == 0.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, 0.0), (12345.678, 12346.0), (123.456, 123.5), (1.23456, 1.235), (0.012345, 0.01235)],
)
def test_figures_are_shown_with_four_digits(value, shown):
    assert tidy(value) == pytest.approx(shown)


def test_the_mean_batch_is_that_of_the_case_alone():
    before, after = {"sum": 100.0, "count": 10.0}, {"sum": 340.0, "count": 20.0}
    assert mean_of_histogram(before, after) == 24.0
    assert mean_of_histogram({}, after) == 17.0
    assert mean_of_histogram(after, after) == 0.0


def test_targets_are_told_for_what_was_measured_only():
    measured = figures(
        spread_orders_per_second=[100.0, 110.0, 90.0],
        limit_store_orders_per_second=[190.0],
        hot_orders_per_second=[80.0],
        mean_batch=[8.0],
    )
    assert targets(measured) == {
        "spread_orders_per_second >= 0.5 of limit_store_orders_per_second": True,
        "hot_orders_per_second >= 0.9 of spread_orders_per_second": False,
        "mean_batch >= 8": True,
    }


def test_the_document_is_json_with_medians_and_spreads():
    outcome = Outcome(figures=figures(accept_per_second=[3.0, 1.0, 2.0], worker_rss_mb=[90.0, 101.0]))
    told = json.loads(json.dumps(document(outcome, Plan(), {"cores": 2})))
    assert told["accept_per_second"] == 2.0
    assert told["spread"]["accept_per_second"] == [1.0, 3.0]
    assert told["worker_rss_mb_max"] == 101.0
    assert told["oversold"] == 0


def test_the_defaults_are_three_rounds_of_every_case():
    assert plan() == Plan()
    assert plan().only == CASES
    assert plan().rounds == 3


def test_quick_is_one_short_round():
    quick = plan("--quick", "--rounds", "5")
    assert quick.rounds == 1
    assert quick.seconds == 2.0
    assert plan("--quick", "--seconds", "0.5").seconds == 0.5


def test_some_cases_run_in_their_usual_order():
    assert plan("--only", "store,spread").only == ("spread", "store")


@pytest.mark.parametrize(
    "words",
    [["--only", "nonsense"], ["--rounds", "0"], ["--seconds", "0"], ["--clients", "-1"], ["--skus", "x"]],
)
def test_arguments_that_make_no_sense_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(words)
    assert "error" in capsys.readouterr().err


def test_orders_have_one_to_three_lines_and_are_the_same_each_time():
    skus = [f"S{number}" for number in range(10)]
    orders = make_orders(skus)
    assert {len(items) for items in orders} == {1, 2, 3}
    assert all(len({item["sku"] for item in items}) == len(items) for items in orders)
    assert orders == make_orders(skus)
    assert {len(items) for items in make_orders(["ONE"])} == {1}


def test_the_same_seed_schedules_the_same_faults():
    plan = faults_of(FULL_PLAN)
    first, again = (schedule(plan, seed=7, seconds=100) for _ in range(2))
    assert first == again
    assert first != schedule(plan, seed=8, seconds=100)
    assert sorted(f"{fault.how} {fault.target}" for fault in first) == sorted(plan)
    assert [fault.at for fault in first] == sorted(fault.at for fault in first)


def test_memory_that_stays_is_steady_and_memory_that_grows_is_not():
    assert problems(summarise([60.0, 80.0] + [90.0] * 20)) == []
    assert "grew" in problems(summarise([float(value) for value in range(60, 140)]))[0]
    assert "at most" in problems(summarise([151.0] * 10))[0]
