"""The arithmetic of pools, by cases that are worked by hand in `docs/scaling.md`."""

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.jobs.pool_reports import Backlog, PoolReport, Windows, in_words, report
from domain.jobs.pool_rules import (
    BOUNDS,
    ENOUGH,
    MOST_WORKERS,
    Flow,
    batch_line,
    believed,
    class_of,
    drain_seconds,
    quantile,
    worker_rate,
    workers_for,
)

TARGET = timedelta(minutes=5)
#: One worker of 4 threads, a minute long: 30 pictures of 8 s each.
PICTURES = Flow(
    seconds=60, arrived=60, done=30, runs=30, run_seconds=240, busy_seconds=240, thread_seconds=240,
    worker_seconds=60,
)  # fmt: skip
#: One worker that settled 10 batches of 4 in 0.2 s each, and 10 of 16 in 0.5 s each.
BATCHES = Flow(
    seconds=60, arrived=200, done=200, runs=200, run_seconds=60, busy_seconds=60, thread_seconds=3840,
    worker_seconds=60, batches=20, batched=200, batch_seconds=7, batch_squares=10 * 16 + 10 * 256,
    batch_products=10 * 4 * 0.2 + 10 * 16 * 0.5,
)  # fmt: skip


def said(backlog: Backlog, flow: Flow = PICTURES, *, hour: Flow | None = None) -> PoolReport:
    windows = Windows(flow, flow, replace(flow, seconds=300), hour or replace(flow, seconds=3600))
    return report("media", backlog, windows, target=TARGET, largest_batch=64)


def test_a_worker_that_never_waits_does_its_threads_over_the_mean_run():
    # Little's law: 4 threads / 8 s.
    assert worker_rate(PICTURES, largest_batch=64) == pytest.approx(0.5)


def test_what_half_a_busy_worker_does_is_doubled():
    half = replace(PICTURES, done=15, busy_seconds=120)
    assert worker_rate(half, largest_batch=64) == pytest.approx(0.5)


def test_an_idle_worker_is_not_taken_for_more_than_four_times_what_it_did():
    idle = replace(PICTURES, done=1, busy_seconds=0.1)
    assert worker_rate(idle, largest_batch=64) == pytest.approx(4 * 1 / 60)


def test_nothing_is_said_of_a_worker_that_ended_nothing():
    assert worker_rate(Flow(seconds=60), largest_batch=64) is None
    assert worker_rate(replace(PICTURES, done=0), largest_batch=64) is None


def test_a_batch_costs_a_fixed_part_and_one_per_job():
    # 0.2 s = a + 4 b and 0.5 s = a + 16 b: b = 0.025, a = 0.1.
    assert batch_line(BATCHES) == pytest.approx((0.1, 0.025))


def test_batches_of_one_size_do_not_tell_the_parts():
    alike = replace(BATCHES, batched=200, batch_squares=20 * 100, batch_products=200 * 0.35)
    assert batch_line(alike) is None


def test_a_pool_that_batches_does_more_as_its_batches_grow():
    # Busy 7 s of 60 with batches of 10 on average, at 0.35 s: full batches of 64 take 1.7 s.
    growth = (64 / 1.7) / (10 / 0.35)
    busy = 7 / 60
    assert BATCHES.busy == pytest.approx(busy)
    assert worker_rate(replace(BATCHES, worker_seconds=14), largest_batch=64) == pytest.approx(
        200 / 14 * growth / 0.5
    )
    # Not more than four times what was seen, however idle it was.
    assert worker_rate(BATCHES, largest_batch=64) == pytest.approx(4 * 200 / 60)


def test_a_backlog_drains_by_what_is_done_beyond_what_comes():
    assert drain_seconds(depth=420, arrivals=0.5, rate=1.0) == pytest.approx(840)
    assert drain_seconds(depth=0, arrivals=9, rate=1) == 0
    assert drain_seconds(depth=1, arrivals=1, rate=1) is None


def test_the_workers_that_are_recommended_drain_in_time():
    # 420 waiting, 0.5 a second coming, 0.5 a worker: (0.5 + 420 / 300) / 0.5 = 3.8.
    assert workers_for(depth=420, arrivals=0.5, per_worker=0.5, target=TARGET) == 4
    # With nothing waiting: as many as leave a fifth of their time.
    assert workers_for(depth=0, arrivals=0.8, per_worker=0.5, target=TARGET) == 2
    assert workers_for(depth=10**9, arrivals=0, per_worker=0.5, target=TARGET) == MOST_WORKERS


def test_time_that_was_waited_already_counts():
    fresh = workers_for(depth=300, arrivals=0, per_worker=0.5, target=TARGET)
    aged = workers_for(depth=300, arrivals=0, per_worker=0.5, target=TARGET, oldest=200)
    overdue = workers_for(depth=300, arrivals=0, per_worker=0.5, target=TARGET, oldest=10_000)
    assert (fresh, aged, overdue) == (2, 6, 8)


def test_a_longer_window_is_believed_where_the_short_one_saw_little():
    few = replace(PICTURES, done=ENOUGH - 1)
    many = replace(PICTURES, seconds=300, done=ENOUGH)
    assert believed((few, many)) is many
    assert believed((few, replace(many, done=1))).done == 1
    assert believed((Flow(seconds=60), Flow(seconds=300))).done == 0


def test_run_times_are_counted_in_classes_that_double():
    assert BOUNDS[:3] == (0.005, 0.01, 0.02)
    assert [class_of(seconds) for seconds in (0.001, 0.005, 0.0051, 10**6)] == [
        "class_0", "class_0", "class_1", "class_19",
    ]  # fmt: skip


def test_a_quantile_lies_within_its_class():
    flow = Flow.of([{"class_0": 50, "class_1": 45, "class_2": 5}], seconds=60)
    assert quantile(flow.spread, 0.5) == pytest.approx(0.005)
    assert quantile(flow.spread, 0.95) == pytest.approx(0.01)
    assert quantile(flow.spread, 0.975) == pytest.approx(0.015)
    assert quantile(Flow(seconds=60).spread, 0.95) is None
    assert quantile(Flow.of([{"class_19": 1}], seconds=60).spread, 0.95) == BOUNDS[-1]


def test_counts_of_many_processes_add_up_and_unknown_ones_are_ignored():
    flow = Flow.of([{"done": 1, "busy_seconds": 2}, {"done": 2, "colour": 7}], seconds=60)
    assert (flow.done, flow.busy_seconds) == (3, 2)


# -- in words ----------------------------------------------------------------------------------------

WAITING = Backlog(ready=400, in_ledger=20, oldest=10, workers=2)
SLOW = replace(PICTURES, arrived=30)


def test_a_slow_drain_says_how_many_workers_bring_it_under_the_target():
    two = replace(SLOW, done=60, worker_seconds=120, thread_seconds=480, busy_seconds=480, runs=60)
    found = said(replace(WAITING, oldest=0), two)
    assert (found.depth, found.worker_rate, found.drain) == (420, 0.5, 840)
    assert (found.recommended, found.attention) == (4, True)
    assert found.words == "`media` will take 14 min to drain; 2 more workers bring it under 5 min"


def test_one_more_worker_is_one():
    found = said(Backlog(ready=100, in_ledger=0, oldest=0, workers=1), replace(SLOW, arrived=0))
    assert found.words == "`media` will take 3 min to drain"
    assert not found.attention
    found = said(Backlog(ready=180, in_ledger=0, oldest=0, workers=1), replace(SLOW, arrived=0))
    assert found.words == "`media` will take 6 min to drain; 1 more worker brings it under 5 min"


@pytest.mark.parametrize(
    ("backlog", "words"),
    [
        (Backlog(0, 0, 0, 2), "`media` has nothing waiting"),
        (Backlog(3, 0, 1, 0), "`media` has no worker and 3 jobs waiting; start 2"),
        (Backlog(1, 0, 1, 2, paused=True), "`media` is paused, with 1 job waiting"),
    ],
    ids=["idle", "nobody", "paused"],
)
def test_what_is_the_matter_is_said(backlog, words):
    found = said(backlog, replace(SLOW, arrived=48))
    assert found.words == words


def test_a_pool_that_falls_behind_says_so():
    found = said(Backlog(ready=60, in_ledger=0, oldest=5, workers=1))
    assert found.drain is None
    assert found.words == (
        "`media` grows: 1 a second come, and 0.5 can be done; 2 more workers bring it under 5 min"
    )


def test_nothing_measured_is_said_and_one_more_is_tried_where_it_takes_too_long():
    nothing = Flow(seconds=60)
    found = said(Backlog(ready=5, in_ledger=None, oldest=1, workers=1), nothing)
    assert found.words == "`media` has 5 jobs waiting, and none has ended yet to tell how long they take"
    assert (found.recommended, found.drain, found.mean_run, found.busy) == (1, None, None, None)
    assert said(Backlog(5, 0, 301, 1), nothing).recommended == 2
    assert said(Backlog(5, 0, 1, 0), nothing).recommended == 1


def test_an_idle_pool_needs_nobody():
    assert said(Backlog(0, 0, 0, 2), Flow(seconds=60)).recommended == 0
    assert said(Backlog(0, 0, 0, 2, in_flight=1), Flow(seconds=60)).recommended == 2


def test_a_paused_pool_is_not_grown():
    assert said(replace(WAITING, paused=True)).recommended == WAITING.workers
    assert said(Backlog(5, 0, 999, 1, paused=True), Flow(seconds=60)).recommended == 1
    assert said(Backlog(5, 0, 999, 0, paused=True)).recommended == 0
    assert said(Backlog(5, 0, 0, 4, paused=True), replace(PICTURES, arrived=0)).recommended == 1


def test_who_cannot_be_asked_leaves_a_gap():
    found = said(Backlog(ready=None, in_ledger=None, oldest=None, workers=None))
    assert (found.ready, found.oldest, found.depth, found.workers) == (None, None, 0, 1)


def test_rates_are_per_second_and_faults_per_minute():
    flow = replace(PICTURES, faults=3, refused=2)
    found = said(WAITING, flow)
    assert (found.arrivals, found.completions) == (1.0, 0.5)
    assert (found.arrivals_5m, found.completions_5m) == (0.2, 0.1)
    assert (found.failures_per_minute, found.refusals_per_minute) == (3, 2)
    assert (found.mean_run, found.busy, found.threads) == (8, 1, 8)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (840, "14 min"), (7200, "2 h"), (400_000, "5 d")],
)
def test_times_are_told_as_people_do(seconds, words):
    assert in_words(seconds) == words
