"""Mail about events, from the event to a real mail server: once, to who wants it, tried until it is taken."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from domain.accounts.models import Account
from domain.accounts.rules import Principal
from domain.accounts.sessions import Device
from domain.adapters.smtp import SmtpMailer
from domain.bootstrap import Services
from domain.changes import Doc
from domain.errors import Conflict
from domain.events.models import EVENTS
from domain.jobs.models import JOBS
from domain.settings import Mail, Settings
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.fakes import FakeMailer
from tests.happenings import happen, held, paid
from tests.people import PASSWORD
from tests.smtp import HOST, Postbox, serving
from tests.transactions import LABELS, commit_whose_answer_is_lost

Rewire = Callable[..., Services]


@pytest.fixture
async def box() -> AsyncIterator[Postbox]:
    async with serving() as box:
        yield box


@pytest.fixture
async def shop(services: Services, rewire: Rewire, box: Postbox) -> Shop:
    """A shop whose letters go to `box`."""
    return Shop(with_mail(services, rewire, box))


def with_mail(services: Services, rewire: Rewire, box: Postbox, **more: Any) -> Services:
    given = {"host": HOST, "port": box.port, "security": "none", "sender": "Tea & Co <shop@example.com>"}
    mail = Mail(**{**given, **more})
    settings: Settings = services.settings.model_copy(update={"mail": mail})
    return rewire(settings=settings, mailer=SmtpMailer(mail))


async def ada_of(shop: Shop) -> Account:
    return await shop.services.accounts._create(f"{new_id()}@example.com", PASSWORD, role="customer")


async def letters(shop: Shop) -> list[Doc]:
    """The jobs of letters, oldest first."""
    await shop.services.events.drain()
    return await shop.services.database[JOBS].find({"kind": "notifications.mail"}).sort("_id").to_list()


async def post(shop: Shop) -> list[Doc]:
    """Runs each letter's job that waits, as workers would; the jobs afterwards."""
    return [await shop.work(job["_id"]) if job["state"] == "queued" else job for job in await letters(shop)]


def text_of(box: Postbox, index: int = -1) -> str:
    return next(iter(box.messages[index].iter_parts())).get_content().replace("\r\n", "\n")  # type: ignore[no-any-return]


async def test_a_paid_order_is_confirmed_by_mail(shop: Shop, box: Postbox):
    ada = await ada_of(shop)
    await shop.stock(CHAI=5)
    order = await shop.place(owner=ada.id, CHAI=2)
    assert await post(shop) == []
    await shop.pay(order["id"], owner=ada.id)
    (job,) = await post(shop)
    assert (job["state"], job["result"], job["subject"]) == ("succeeded", {"sent": "order.paid"}, order["id"])
    (event,) = await shop.services.database[EVENTS].find({"type": "order.paid"}).to_list()
    (message,) = box.messages
    assert message["To"] == ada.email
    assert message["Subject"] == "Order confirmed"
    assert message["Message-ID"] == f"<{event['_id']}@example.com>"
    assert "2 x CHAI (CHAI): 20.00 USD\n" in text_of(box)
    assert "Total: 20.00 USD\n" in text_of(box)
    assert "Ada\n1 Dock Road\nLeith\nGB\n" in text_of(box)


async def test_orders_that_are_refused_or_expire_are_told_by_mail(
    shop: Shop, box: Postbox, clock: MovableClock
):
    ada = await ada_of(shop)
    await shop.stock(CHAI=2)
    held_order = await shop.place(owner=ada.id, CHAI=2)
    await shop.place(owner=ada.id, CHAI=2)
    clock.move(minutes=16)
    await shop.services.orders.expire([held_order["hold_id"]])
    await post(shop)
    assert [message["Subject"] for message in box.messages] == ["Order refused", "Order expired"]
    assert "out of stock" in text_of(box, 0)
    assert "2 x CHAI" in text_of(box, 1)


async def test_hostile_names_stay_text(shop: Shop, box: Postbox):
    ada = await ada_of(shop)
    (event,) = await happen(shop.services, paid(ada.id), tell=False)
    hostile = "Å <b>&amp;</b>\r\nBcc: eve@example.com"
    line = {"sku": "CHAI", "name": hostile, "quantity": 1, "net": 100}
    order = {
        "_id": event["subject"], "currency": "JPY", "lines": [line], "net": 100, "total": 100,
        "address": {"name": hostile, "line1": "\r\n.\r\nQUIT", "city": "茶", "country": "GB"},
    }  # fmt: skip
    await shop.services.database["orders"].insert_one(order)
    route = shop.services.events._telling._router
    assert route is not None
    await route([event])
    await post(shop)
    (message,) = box.messages
    assert box.recipients == [ada.email]
    assert message["Bcc"] is None
    assert "1 x Å <b>&amp;</b> Bcc: eve@example.com (CHAI): 100 JPY\n" in text_of(box)
    html = list(message.iter_parts())[1].get_content()
    assert "Å &lt;b&gt;&amp;amp;&lt;/b&gt; Bcc" in html
    assert ". QUIT" in html


async def test_one_event_is_one_letter_however_often_it_is_routed(shop: Shop, box: Postbox):
    ada = await ada_of(shop)
    (event,) = await happen(shop.services, paid(ada.id))
    route = shop.services.events._telling._router
    assert route is not None
    await route([event])
    (job,) = await post(shop)
    again = await shop.work(job["_id"])
    assert (again["state"], len(box.messages)) == ("succeeded", 1)


async def test_a_worker_that_dies_before_the_ledger_knows_makes_it_come_twice_as_one(
    shop: Shop, box: Postbox, monkeypatch: pytest.MonkeyPatch, clock: MovableClock
):
    ada = await ada_of(shop)
    await happen(shop.services, paid(ada.id))
    (job,) = await letters(shop)

    async def dies(*_: Any) -> bool:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(shop.services.runs, "succeed", dies)
        with pytest.raises(asyncio.CancelledError):
            await shop.work(job["_id"])
    clock.move(seconds=10)
    assert await shop.services.relay.take_back() == 1
    assert (await shop.work(job["_id"]))["state"] == "succeeded"
    assert len(box.messages) == 2
    assert len({message["Message-ID"] for message in box.messages}) == 1


async def test_a_greylisted_letter_is_sent_again_until_it_is_taken(
    shop: Shop, box: Postbox, clock: MovableClock
):
    ada = await ada_of(shop)
    await happen(shop.services, paid(ada.id))
    pauses = []
    for _ in range(7):
        box.recipient_answers.append("451 greylisted")
        (job,) = await post(shop)
        assert (job["state"], job["attempts"]) == ("queued", 0)
        assert "451 greylisted" in job["error"]["fault"]
        pauses.append(round((job["not_before"] - clock()).total_seconds()))
        clock.move(seconds=pauses[-1])
    assert pauses == pytest.approx([30, 30, 60, 120, 240, 480, 960], rel=0.1)
    (job,) = await post(shop)
    assert (job["state"], job["error"], len(box.messages)) == ("succeeded", None, 1)


async def test_a_server_that_stays_away_ends_the_letter_as_dead(
    shop: Shop, box: Postbox, clock: MovableClock
):
    ada = await ada_of(shop)
    await happen(shop.services, paid(ada.id))
    box.answers.extend(["451 no"] * 2)
    assert [job["state"] for job in await post(shop)] == ["queued"]
    clock.move(hours=25)
    assert [job["state"] for job in await post(shop)] == ["dead"]


async def test_what_is_refused_for_good_ends_the_letter_with_the_reason(shop: Shop, box: Postbox):
    ada = await ada_of(shop)
    await happen(shop.services, paid(ada.id))
    box.recipient_answers.append("550 no such mailbox")
    (job,) = await post(shop)
    assert (job["state"], job["error"]["code"]) == ("failed", "mail_refused")
    assert job["error"]["detail"] == {"reason": "550 no such mailbox"}
    assert box.messages == []


async def test_a_slow_server_holds_as_many_workers_as_it_may(
    services: Services, rewire: Rewire, box: Postbox, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    shop = Shop(with_mail(services, rewire, box, connections=1))
    ada = await ada_of(shop)
    await happen(shop.services, *(paid(ada.id) for _ in range(6)))
    box.delay = 0.2
    jobs = await asyncio.gather(*(shop.work(job["_id"]) for job in await letters(shop)))
    assert sorted(job["state"] for job in jobs) == ["queued"] * 2 + ["succeeded"] * 4
    waits = [job for job in jobs if job["state"] == "queued"]
    assert {job["attempts"] for job in waits} == {0}
    pauses = []
    with monkeypatch.context() as patch:
        patch.setattr(shop.services.post, "_here", 4)
        for moved in (0, 30, 3600):
            clock.move(seconds=moved)
            job = await shop.work(waits[0]["_id"])
            pauses.append(round((job["not_before"] - clock()).total_seconds()))
    assert pauses == pytest.approx([2, 30, 60], abs=1)
    box.delay = 0
    assert {job["state"] for job in await post(shop)} == {"succeeded"}
    assert len(box.messages) == 6


async def test_preferences_decide_and_security_mail_comes_anyway(shop: Shop, box: Postbox):
    ada = await ada_of(shop)
    await happen(shop.services, paid(ada.id))
    await shop.services.preferences.replace(ada.id, {"*": {"mail": False}}, expected=None)
    await happen(shop.services, paid(ada.id))
    (job,) = await post(shop)
    assert (job["result"], box.messages) == ({"skipped": "not_wanted"}, [])
    by = Principal(ada.id, "customer", frozenset(), session_id=new_id())
    await shop.services.accounts.change_password(
        by, PASSWORD, "seventeen green bicycles", device=Device(address="203.0.113.7")
    )
    await post(shop)
    (message,) = box.messages
    assert message["Subject"] == "Your password was changed"
    assert "from the address 203.0.113.7" in text_of(box)


async def test_accounts_that_are_none_and_events_without_a_letter_get_no_mail(shop: Shop, box: Postbox):
    ada = await ada_of(shop)
    await happen(shop.services, held(ada.id), paid("nobody"))
    (job,) = await post(shop)
    assert (job["result"], box.messages) == ({"skipped": "no_account"}, [])


async def test_without_a_mail_server_there_are_no_jobs(services: Services):
    shop = Shop(services)
    ada = await ada_of(shop)
    await happen(services, paid(ada.id))
    assert await letters(shop) == []


# -- a changed password --


async def test_of_two_changes_at_once_one_is_told(services: Services):
    ada = await ada_of(Shop(services))
    by = Principal(ada.id, "customer", frozenset(), session_id=new_id())
    results = await asyncio.gather(
        *(services.accounts.change_password(by, PASSWORD, f"seventeen {what} bicycles") for what in "xyz"),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in results) == ["Conflict", "Conflict", "NoneType"]
    assert all(each is None or isinstance(each, Conflict) for each in results)
    assert await services.database[EVENTS].count_documents({"account_id": ada.id}) == 1


async def test_a_change_does_not_wait_for_other_events_of_the_account(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    ada = await ada_of(Shop(services))
    cursors, asked = services.events.cursors, 0

    async def late(accounts: Any) -> Any:
        nonlocal asked
        found, asked = await cursors(accounts), asked + 1
        if asked == 1:
            await happen(services, paid(ada.id))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(services.accounts._password_changes._events, "cursors", late)
        by = Principal(ada.id, "customer", frozenset(), session_id=new_id())
        await services.accounts.change_password(by, PASSWORD, "seventeen green bicycles")
    rows = await services.database[EVENTS].find({"account_id": ada.id}).sort("seq").to_list()
    assert [row["type"] for row in rows] == ["order.paid", "account.password_changed"]


@LABELS
async def test_a_change_whose_commit_had_no_answer_is_told_once(services: Services, label: str):
    ada = await ada_of(Shop(services))
    by = Principal(ada.id, "customer", frozenset(), session_id=new_id())
    with commit_whose_answer_is_lost(label):
        await services.accounts.change_password(by, PASSWORD, "seventeen green bicycles")
    assert await services.database[EVENTS].count_documents({"account_id": ada.id}) == 1
    assert (await services.accounts.log_in(ada.email, "seventeen green bicycles")).account_id == ada.id


async def test_the_fake_takes_what_the_server_takes(services: Services, rewire: Rewire):
    mailer = FakeMailer()
    mail = Mail(host=HOST, security="none")
    shop = Shop(rewire(settings=services.settings.model_copy(update={"mail": mail}), mailer=mailer))
    ada = await ada_of(shop)
    await happen(shop.services, paid(ada.id))
    await post(shop)
    assert [mail.to for mail in mailer.taken] == [ada.email]
