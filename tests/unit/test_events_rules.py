import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from domain.bootstrap import DECLARED
from domain.changes import Changes
from domain.events import registry
from domain.events.models import CURSORS, EVENTS, OUTBOX, TIMES, NewEvent
from domain.events.registry import ACCOUNT, EventData, WrongEvent, event
from domain.events.rules import SHOP, account_channel, envelope, messages, rfc3339
from domain.events.service import Events

AT = datetime(2026, 11, 22, 10, 45, 28, 123_000, tzinfo=UTC)
EVENT = {
    "_id": "e1",
    "account_id": "ada",
    "seq": 7,
    "type": "order.reserved",
    "subject": "o1",
    "time": AT,
    "data": {"order_id": "o1", "name": "Zoë\n"},
}


PAID = {"order_id": "o", "state": "paid", "payment_id": "p"}


def test_times_are_utc_with_milliseconds():
    assert rfc3339(AT) == "2026-11-22T10:45:28.123Z"
    assert rfc3339(AT.astimezone(timezone(timedelta(hours=5)))) == "2026-11-22T10:45:28.123Z"


def test_an_event_is_told_as_a_cloud_event_with_its_number():
    assert envelope(EVENT) == {
        "specversion": "1.0",
        "id": "e1",
        "source": "/accounts/ada",
        "type": "order.reserved",
        "subject": "o1",
        "time": "2026-11-22T10:45:28.123Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:stockyard:event:order.reserved:1",
        "seq": 7,
        "data": {"order_id": "o1", "name": "Zoë\n"},
    }


def test_an_event_goes_to_its_accounts_channel_and_to_its_types_as_one_line():
    (account, first), (kind, second) = messages(EVENT)
    assert (account, kind) == (account_channel("ada"), "stockyard:events:order.reserved")
    assert first == second
    assert json.loads(first) == envelope(EVENT)
    assert "\n" not in first


def test_events_of_one_transaction_are_numbered_per_account_and_guard_their_numbers():
    changes = Changes()
    new = [NewEvent(who, "order.paid", "o", PAID) for who in ("ada", "bob", "ada")]
    recorded = Events.record(changes, new, cursors={"ada": 4, "bob": 0, "carl": 9}, at=AT)
    assert [(event["account_id"], event["seq"]) for event in recorded.events] == [
        ("ada", 5), ("bob", 1), ("ada", 6),
    ]  # fmt: skip
    guards = [(guard.collection, guard.query, guard.update, guard.expect) for guard in changes.guards]
    assert guards == [
        (CURSORS, {"_id": {"$in": ["bob"]}}, {"$inc": {"seq": 1}}, 1),
        (CURSORS, {"_id": {"$in": ["ada"]}}, {"$inc": {"seq": 2}}, 1),
    ]
    # Two transactions that number from the same count meet at the key that an account's number is.
    assert changes.unique == {EVENTS}
    assert changes.inserts == {EVENTS: list(recorded.events)}
    ids = [event["_id"] for event in recorded.events]
    assert changes.riders == [
        (OUTBOX, {"_id": recorded.outbox_id, "events": ids}),
        (TIMES, {"_id": recorded.outbox_id, "at": AT, "events": ids, "types": ["order.paid"] * 3}),
    ]


def test_a_transaction_without_events_writes_nothing_of_them():
    changes = Changes()
    recorded = Events.record(changes, [], cursors={}, at=AT)
    assert not changes
    assert recorded.events == ()


def test_an_event_that_is_not_as_its_type_says_is_not_recorded(subtests: pytest.Subtests):
    assert DECLARED
    paid = NewEvent("ada", "order.paid", "o", PAID)
    wrong = {
        "no type": replace(paid, type="order.eaten"),
        "a member more": replace(paid, data=PAID | {"more": 1}),
        "a member less": replace(paid, data={"order_id": "o", "state": "paid"}),
        "another type of member": replace(paid, data=PAID | {"payment_id": 7}),
        "another state": replace(paid, data=PAID | {"state": "expired"}),
        "the shop's": replace(paid, account_id=SHOP),
        "an account's": NewEvent(
            "ada", "stock.low", "A", {"sku": "A", "location": "main", "available": 1, "low_at": 2}
        ),
    }
    for what, new in wrong.items():
        with subtests.test(what), pytest.raises(WrongEvent):
            Events.record(Changes(), [new], cursors={"ada": 0, SHOP: 0}, at=AT)


def test_a_type_is_declared_once_with_an_example_that_fits():
    with pytest.raises(ValueError, match="two types"):
        event("order.paid", subject="order", whose=ACCOUNT, example=PAID)(registry._TYPES["order.paid"].model)

    class Sunk(EventData):
        """A ship went down."""

        ship: str

    with pytest.raises(ValueError, match="ship"):
        event("ship.sunk", subject="ship", whose=ACCOUNT, example={})(Sunk)
    assert "ship.sunk" not in registry.names()


def test_a_type_that_would_break_its_readers_has_a_schema_of_its_own():
    @event("ship.found", subject="ship", whose=ACCOUNT, example={"ship": "x"}, version=2)
    class Found(EventData):
        """A ship was found."""

        ship: str

    try:
        new = NewEvent("ada", "ship.found", "s", {"ship": "x"})
        (stored,) = Events.record(Changes(), [new], cursors={"ada": 0}, at=AT).events
        assert envelope(stored)["dataschema"] == "urn:stockyard:event:ship.found:2"
        # What was stored before keeps the schema that it was stored with.
        del stored["version"]
        assert envelope(stored)["dataschema"] == "urn:stockyard:event:ship.found:1"
    finally:
        registry._TYPES.pop("ship.found")
