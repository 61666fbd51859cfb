"""Dead jobs that died of the same."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.jobs.grouping import group_key, grouped, normalised

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def dead(minutes: int, fault: str, *, kind: str = "orders.pay") -> dict[str, object]:
    error = {"code": "internal", "message": "The platform failed at this.", "detail": {}, "fault": fault}
    return {
        "_id": str(minutes),
        "kind": kind,
        "error": error,
        "finished_at": NOW + timedelta(minutes=minutes),
    }


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("KeyError: 'CHAI-1'", "KeyError: <text>"),
        ("order 019a9d2e-7c1a-7b60-9d51-3f0c5f6a2b11 is gone", "order <id> is gone"),
        ("timeout after 30.5 s, try 3", "timeout after <n>.<n> s, try <n>"),
        ("digest 9f86d081884c7d659a2feaa0c55ad015", "digest <hex>"),
        ("x" * 1000, "x" * 300),
        ("", ""),
    ],
)
def test_what_differs_from_job_to_job_is_left_out(text: str, same: str):
    assert normalised(text) == same


def test_jobs_that_died_of_the_same_are_one_group_the_largest_first():
    jobs = [
        dead(3, "KeyError: 'A'"),
        dead(1, "KeyError: 'B'"),
        dead(2, "ValueError: 3"),
        dead(4, "KeyError: 'A'", kind="orders.place"),
    ]
    groups = grouped(jobs)
    assert [(group.kind, group.text, group.count) for group in groups] == [
        ("orders.pay", "KeyError: <text>", 2),
        ("orders.pay", "ValueError: <n>", 1),
        ("orders.place", "KeyError: <text>", 1),
    ]
    first = groups[0]
    assert (first.first_at, first.last_at) == (NOW + timedelta(minutes=1), NOW + timedelta(minutes=3))
    assert first.sample["_id"] == "3"
    assert group_key(jobs[0]) == group_key(jobs[1]) != group_key(jobs[2])


def test_a_job_without_an_error_has_a_group_too():
    job = {"_id": "1", "kind": "orders.pay", "error": None, "finished_at": NOW}
    assert [(group.code, group.text) for group in grouped([job])] == [("", "")]
