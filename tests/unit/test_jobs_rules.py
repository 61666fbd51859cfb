from datetime import timedelta
from typing import Any, get_args

import pytest

from api.schemas.jobs import JobState
from domain.errors import OutOfStock
from domain.jobs.commands import Command, kinds
from domain.jobs.outcomes import TEXT_LIMIT, error_form
from domain.jobs.rules import FINAL, REPLAYABLE, STATES, backoff, fingerprint, step, view
from domain.orders.commands import OrderItem, PlaceOrder
from domain.values import utcnow
from tests.factories import ADDRESS

SECOND, FIVE_MINUTES = timedelta(seconds=1), timedelta(minutes=5)
NOW = utcnow()
JOB: dict[str, Any] = {
    "_id": "1",
    "kind": "orders.place",
    "state": "queued",
    "created_at": NOW,
    "not_before": NOW,
    "history": [step("queued", NOW)],
}


@pytest.mark.parametrize(
    ("attempt", "full"), [(1, 1), (2, 2), (3, 4), (5, 16), (9, 256), (10, 300), (10**6, 300)]
)
def test_the_pause_doubles_up_to_the_longest_and_varies_by_half(attempt: int, full: int):
    pauses = [backoff(attempt, first=SECOND, longest=FIVE_MINUTES).total_seconds() for _ in range(200)]
    assert full / 2 <= min(pauses) <= max(pauses) <= full
    assert max(pauses) - min(pauses) > full / 10


def test_a_fingerprint_goes_by_content_and_not_by_the_order_of_names():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})


def test_equal_commands_have_equal_fingerprints():
    one, two = (
        PlaceOrder(items=(OrderItem(sku="A", quantity=1),), address=ADDRESS, reservation_id=None)
        for _ in range(2)
    )
    assert fingerprint(one.payload()) == fingerprint(two.payload())


def test_the_states_that_only_a_replay_leaves_are_the_final_ones():
    assert set(REPLAYABLE) < set(FINAL) < set(STATES)
    # What the API's filter takes, and its answers show.
    assert get_args(JobState) == STATES
    assert "succeeded" not in REPLAYABLE


def test_a_queued_job_shows_when_it_runs_and_a_finished_one_when_it_ended():
    assert view(JOB)["not_before"] is not None
    ended = view(JOB | {"state": "succeeded", "finished_at": NOW, "result": {"order_state": "reserved"}})
    assert (ended["not_before"], ended["result"]) == (None, {"order_state": "reserved"})
    assert ended["finished_at"].endswith("Z")


def test_a_compacted_job_is_shown_without_history():
    bare = {name: value for name, value in JOB.items() if name != "history"}
    assert view(bare | {"state": "failed", "error": {"code": "out_of_stock"}})["history"] == []


def test_what_a_fault_was_is_shown_to_ops_alone():
    failed = JOB | {"state": "dead", "error": error_form(RuntimeError("a secret place"))}
    assert "a secret place" not in str(view(failed))
    assert view(failed)["error"]["code"] == "internal"
    assert "a secret place" in view(failed, ops=True)["error"]["fault"]


def test_an_answer_keeps_its_code_and_detail():
    assert error_form(OutOfStock(lines=[1])) == {
        "code": "out_of_stock",
        "message": "There is not enough stock.",
        "detail": {"lines": [1]},
    }


def test_the_text_of_a_fault_is_bounded():
    assert len(error_form(RuntimeError("x" * 10 * TEXT_LIMIT))["fault"]) == TEXT_LIMIT


def test_two_commands_of_one_kind_are_a_mistake():
    with pytest.raises(TypeError, match=r"orders\.place is both"):

        class PlaceOrderToo(Command):
            kind = "orders.place"
            pool = "orders"


def test_each_kind_is_a_feature_and_a_verb_and_has_a_pool():
    for kind, command in kinds().items():
        feature, verb = kind.split(".")
        assert feature
        assert verb
        assert command.pool
