"""What reaches an account, what it has read, and how amounts and events are put in words."""

import pytest

from domain.bootstrap import DECLARED
from domain.events import registry
from domain.events.registry import ACCOUNT
from domain.notifications.money import shown
from domain.notifications.notices import KINDS, notice
from domain.notifications.rules import MOST_BEYOND, TOPICS, Marks, refusals, wanted
from domain.values import Money

_ORDER = {"order_id": "o-1", "state": "paid"}


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123450, "USD", "1,234.50 USD"),
        (5, "EUR", "0.05 EUR"),
        (0, "GBP", "0.00 GBP"),
        (1234, "JPY", "1,234 JPY"),
        (0, "KRW", "0 KRW"),
        (1234567, "KWD", "1,234.567 KWD"),
        (7, "BHD", "0.007 BHD"),
        (10**12, "USD", "10,000,000,000.00 USD"),
    ],
)
def test_an_amount_has_the_digits_of_its_currency(amount: int, currency: str, text: str):
    assert shown(Money(amount=amount, currency=currency)) == text


def test_every_event_that_an_account_can_have_is_put_in_words():
    assert DECLARED
    of_accounts = {each.name for each in registry.types() if set(each.whose) & set(ACCOUNT)}
    assert set(KINDS) == of_accounts


@pytest.mark.parametrize("each", list(registry.types()), ids=lambda each: each.name)
def test_the_words_of_an_event_name_only_what_it_has(each: registry.EventType):
    if each.name not in KINDS:
        return
    told = notice({"type": each.name, "subject": "the-subject", "data": dict(each.example)})
    for text in (told.title, told.text):
        assert text == " ".join(text.split())
        assert not {"{", "}", "None"} & set(text.split())
        assert "  " not in text
        assert " ." not in text


def test_what_waits_for_a_topic_is_told_by_an_event_of_its_own():
    names = set(registry.names())
    for topic, told in TOPICS.items():
        assert topic in names
        assert told in KINDS
        assert told != topic


def test_facts_of_an_event_are_shown_as_people_read_them():
    data = _ORDER | {"amount": 1050, "currency": "USD"}
    told = notice({"type": "order.refunded", "subject": "o-1", "data": data})
    assert told.text == "10.50 USD of your order o-1 was paid back to you."
    told = notice({"type": "order.cancelled", "subject": "o-1", "data": _ORDER | {"reason": "{nothing}"}})
    assert told.text == "Your order o-1 was cancelled. Reason: {nothing}."


@pytest.mark.parametrize(
    ("name", "data", "end"),
    [
        ("payment.declined", {"reason": "insufficient_funds"}, "was declined. Reason: insufficient funds."),
        ("media.failed", {"reason": "The bytes are no picture."}, "Reason: The bytes are no picture."),
        ("webhook.disabled", {"reason": "failing"}, "switched off, as deliveries kept failing."),
        ("webhook.disabled", {"reason": "gone"}, "switched off, as it said that it is gone."),
    ],
)
def test_reasons_are_said_in_words(name: str, data: dict[str, str], end: str):
    (known,) = [each for each in registry.types() if each.name == name]
    told = notice({"type": name, "subject": "s-1", "data": dict(known.example) | data})
    assert told.text.endswith(end)


def test_what_an_event_does_not_have_leaves_no_gap():
    told = notice({"type": "order.reserved", "subject": "o-1", "data": {"order_id": "o-1", "late": True}})
    assert told.text == "Your order o-1 is held for you until it is paid."


# -- preferences --


def test_without_a_choice_the_default_decides():
    assert wanted({}, "order.paid", "inbox")
    assert wanted({}, "order.paid", "mail")
    assert not wanted({}, "hold.held", "inbox")
    assert not wanted({}, "hold.expired", "mail")
    assert not wanted({}, "no.such_type", "inbox")


def test_the_most_exact_choice_decides():
    choices = {"*": {"mail": False}, "order.*": {"mail": True, "inbox": False}, "order.paid": {"inbox": True}}
    assert wanted(choices, "order.paid", "inbox")
    assert not wanted(choices, "order.expired", "inbox")
    assert wanted(choices, "order.paid", "mail")
    assert not wanted(choices, "product.back", "mail")


def test_mail_about_security_comes_whatever_is_chosen():
    choices = {"*": {"mail": False, "inbox": False}}
    assert wanted(choices, "account.password_changed", "mail")
    assert not wanted(choices, "account.password_changed", "inbox")
    assert not list(refusals(choices))


@pytest.mark.parametrize(
    ("pattern", "chosen", "reason"),
    [
        ("order.lost", {"mail": True}, "unknown_type"),
        ("lost.*", {"mail": True}, "unknown_type"),
        ("stock.low", {"inbox": True}, "unknown_type"),
        ("order.paid", {"fax": True}, "unknown_channel"),
        ("hold.held", {"mail": True}, "no_such_channel"),
        ("hold.*", {"mail": False}, "no_such_channel"),
        ("account.password_changed", {"mail": False}, "cannot_be_switched_off"),
        ("account.*", {"mail": False}, "cannot_be_switched_off"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(pattern: str, chosen: dict[str, bool], reason: str):
    assert [each[2] for each in refusals({pattern: chosen})] == [reason]


# -- what is read --


def test_marks_that_meet_become_one():
    marks = Marks().add([3, 2])
    assert (marks.upto, marks.beyond) == (0, frozenset({2, 3}))
    marks = marks.add([1])
    assert (marks.upto, marks.beyond) == (3, frozenset())
    assert [seq for seq in range(1, 6) if marks.has(seq)] == [1, 2, 3]


def test_marks_pass_over_what_the_inbox_does_not_show():
    marks = Marks(2).add([5], hidden={3, 4, 6})
    assert (marks.upto, marks.beyond) == (6, frozenset())


def test_a_mark_never_goes_back():
    marks = Marks(10, frozenset({12})).add([4], upto=7)
    assert (marks.upto, marks.beyond) == (10, frozenset({12}))


def test_marks_are_bounded_and_then_the_oldest_counts_as_read():
    marks = Marks().add(range(2, 2 * (MOST_BEYOND + 6), 2))
    assert len(marks.beyond) == MOST_BEYOND
    assert marks.upto == 10
    assert marks.has(9)
    assert not marks.has(11)
    assert marks.has(12)
