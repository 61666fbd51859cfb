import json
from datetime import UTC, datetime, timedelta, timezone

from domain.changes import Changes
from domain.events.models import CURSORS, EVENTS, OUTBOX, NewEvent
from domain.events.rules import account_channel, envelope, messages, rfc3339
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
    new = [NewEvent(who, "order.reserved", "o", {}) for who in ("ada", "bob", "ada")]
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
    ((collection, row),) = changes.riders
    assert (collection, row["events"]) == (OUTBOX, [event["_id"] for event in recorded.events])


def test_a_transaction_without_events_writes_nothing_of_them():
    changes = Changes()
    recorded = Events.record(changes, [], cursors={}, at=AT)
    assert not changes
    assert recorded.events == ()
