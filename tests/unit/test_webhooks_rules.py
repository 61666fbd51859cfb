"""When webhooks are sent, how they are signed, and to which endpoints."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from domain.notifications.webhooks import rules
from domain.values import new_id, utcnow

NOW = datetime(2026, 11, 22, 10, 45, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "_id": new_id(), "account_id": "ada", "seq": 7, "type": "order.paid", "subject": "o-1", "time": NOW,
    "data": {"order_id": "o-1", "note": "caf\u00e9 \u2028 </script>"},
}  # fmt: skip


def test_a_delivery_is_tried_twelve_times_in_about_three_days():
    assert rules.ATTEMPTS == 12
    whole = sum(rules.PAUSES, timedelta())
    assert timedelta(hours=70) < whole < timedelta(days=3) < whole * (1 + rules.JITTER) < rules.GIVE_UP_AFTER
    assert list(rules.PAUSES) == sorted(rules.PAUSES)


def test_pauses_are_a_little_longer_than_planned_and_end():
    for tries, planned in enumerate(rules.PAUSES, start=1):
        pause = rules.pause_after(tries)
        assert pause is not None
        assert planned <= pause <= planned * (1 + rules.JITTER)
    assert rules.pause_after(rules.ATTEMPTS) is None


def test_a_receiver_can_ask_for_a_longer_pause_and_for_no_shorter_one():
    assert rules.pause_after(1, asked=timedelta(minutes=7)) == timedelta(minutes=7)
    assert rules.pause_after(1, asked=timedelta(days=400)) == rules.LONGEST_PAUSE
    shortest = rules.pause_after(7, asked=timedelta(seconds=1))
    assert shortest is not None
    assert shortest >= rules.PAUSES[6]
    assert rules.pause_after(rules.ATTEMPTS, asked=timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        ("0", 0),
        ("Sun, 22 Nov 2026 10:47:00 GMT", 120),
        ("Sun, 22 Nov 2026 10:00:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 30, None),
        ("Sun, 99 Nov 2026 10:47:00 GMT", None),
        ("Sun, 22 Nov 99999999999999999999 10:47:00 GMT", None),
        ("Sun, 22 Nov 2026 10:47:00 +99999999999999999999", None),
        ("Sun, 22 Nov 2026 99999999999:47:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: int | None):
    found = rules.retry_after(header, at=NOW)
    assert found == (None if seconds is None else timedelta(seconds=seconds))


def test_the_body_is_the_envelope_and_its_signature_is_the_standards():
    secret, body = rules.new_secret(), rules.body_of(EVENT)
    headers = rules.headers_of(body, event_id=EVENT["_id"], secrets=[secret], at=utcnow())
    verified = Webhook(secret).verify(body.encode(), headers)
    assert verified == json.loads(body)
    assert (verified["id"], verified["type"], verified["seq"]) == (EVENT["_id"], "order.paid", 7)
    assert headers["webhook-id"] == EVENT["_id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(rules.new_secret()).verify(body.encode(), headers)


def test_every_secret_that_signs_has_a_signature():
    endpoint: dict[str, Any] = {
        "secret": rules.new_secret(),
        "old_secrets": [
            {"secret": rules.new_secret(), "until": utcnow() + timedelta(hours=1)},
            {"secret": rules.new_secret(), "until": utcnow() - timedelta(seconds=1)},
        ],
    }
    secrets = rules.signing_secrets(endpoint, at=utcnow())
    old, over = (each["secret"] for each in endpoint["old_secrets"])
    assert secrets == [endpoint["secret"], old]
    body = rules.body_of(EVENT)
    headers = rules.headers_of(body, event_id=EVENT["_id"], secrets=secrets, at=utcnow())
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in secrets:
        Webhook(secret).verify(body.encode(), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(over).verify(body.encode(), headers)


def test_an_endpoint_wants_types_families_or_all():
    def wants(*wanted: str) -> list[str]:
        recipient = rules.Recipient("e", frozenset(wanted))
        return [each for each in ("order.paid", "order.expired", "stock.low") if recipient.wants(each)]

    assert wants("order.paid") == ["order.paid"]
    assert wants("order.*") == ["order.paid", "order.expired"]
    assert wants("order.expired", "stock.*") == ["order.expired", "stock.low"]
    assert wants("*") == ["order.paid", "order.expired", "stock.low"]
    assert wants("order", "*.paid", "ord.*") == []


def test_recipients_are_known_by_owner():
    rows = [
        {"_id": "1", "account_id": "ada", "events": ["*"]},
        {"_id": "2", "account_id": "shop", "events": ["order.*"]},
        {"_id": "3", "account_id": "ada", "events": ["stock.low"]},
    ]
    found = rules.recipients(rows)
    assert {owner: [each.id for each in own] for owner, own in found.items()} == {
        "ada": ["1", "3"],
        "shop": ["2"],
    }
