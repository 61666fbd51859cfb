"""Paying: charged once or not at all, whatever it races (P2, P4)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pymongo.errors import AutoReconnect

from domain.adapters.payments import COLLECTION, SandboxProvider
from domain.bootstrap import Services
from domain.errors import (
    JobRunning,
    OrderNotCancellable,
    OrderNotFound,
    OrderNotPayable,
    PaymentDeclined,
    RefundRefused,
    TryAgain,
)
from domain.orders.commands import PaymentNotice
from domain.orders.fulfilment import Parcel
from domain.orders.refunds import RefundRequest
from domain.ports import Charge, ProviderTimeout, Repaid
from domain.values import Money, new_id
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.transactions import LABELS, commit_whose_answer_is_lost

Step = Callable[[], Awaitable[Any]]
#: Events that tell of payments.
TOLD = ("order.paid", "payment.captured", "payment.declined", "payment.voided", "payment.refunded")


async def nothing() -> None:
    """What happens in between, unless a test says otherwise."""


class Company:
    """The sandbox, with a say in what happens around each call; `calls` has their names."""

    def __init__(self, sandbox: SandboxProvider) -> None:
        self._sandbox = sandbox
        self.before_authorise: Step = nothing
        self.after_authorise: Step = nothing
        self.before_capture: Step = nothing
        self.calls: list[str] = []

    async def authorise(self, *, key: str, amount: Money, source: str) -> Charge:
        self.calls.append("authorise")
        await self.before_authorise()
        charge = await self._sandbox.authorise(key=key, amount=amount, source=source)
        await self.after_authorise()
        return charge

    async def find(self, key: str) -> Charge | None:
        self.calls.append("find")
        return await self._sandbox.find(key)

    async def capture(self, *, key: str) -> Charge:
        self.calls.append("capture")
        await self.before_capture()
        return await self._sandbox.capture(key=key)

    async def void(self, *, key: str) -> Charge:
        self.calls.append("void")
        return await self._sandbox.void(key=key)

    async def refund(self, *, key: str, amount: Money, refund_key: str) -> Repaid:
        self.calls.append("refund")
        return await self._sandbox.refund(key=key, amount=amount, refund_key=refund_key)


@pytest.fixture
def company(services: Services) -> Company:
    return Company(SandboxProvider(services.database, timeout=services.settings.payments.timeout))


@pytest.fixture
async def shop(rewire: Callable[..., Services], company: Company) -> Shop:
    shop = Shop(rewire(provider=company))
    await shop.stock(A=100)
    return shop


@pytest.fixture
def other(rewire: Callable[..., Services], company: Company) -> Shop:
    """Another process."""
    return Shop(rewire(provider=company))


async def check_money(shop: Shop) -> None:
    """One captured charge of the net amount for each paid order, none for others, and none in between."""
    database = shop.services.database
    charges = {row["_id"]: row for row in await database[COLLECTION].find().to_list()}
    payments = {row["_id"]: row for row in await database["payments"].find().to_list()}
    captured = Counter(
        payments[key]["order_id"] for key, charge in charges.items() if charge["status"] == "captured"
    )
    for order in await database["orders"].find().to_list():
        assert captured[order["_id"]] == (1 if order["state"] == "paid" else 0), order
        if order["state"] == "paid":
            assert charges[order["payment_id"]]["status"] == "captured"
            assert charges[order["payment_id"]]["amount"] == order["net"]
    assert "authorised" not in {charge["status"] for charge in charges.values()}
    for key, payment in payments.items():
        assert payment["state"] == charges[key]["status"], payment
    told = [row async for row in database["events"].find({"type": {"$in": list(TOLD)}}).sort("_id")]
    assert sorted((row["subject"], row["type"]) for row in told if row["type"] != "order.paid") == sorted(
        (key, f"payment.{payment['state']}") for key, payment in payments.items()
    )
    assert {row["subject"]: row["data"]["payment_id"] for row in told if row["type"] == "order.paid"} == {
        payments[key]["order_id"]: key for key, charge in charges.items() if charge["status"] == "captured"
    }


async def pay(shop: Shop, order_id: str, *, payment_id: str = "", source: str = "sandbox:approve") -> Any:
    return await shop.services.order_payments.pay(
        order_id, payment_id=payment_id or new_id(), source=source, owner="ada"
    )


async def outcome(attempt: Awaitable[Any]) -> Any:
    """What was answered or raised."""
    answers = await asyncio.gather(attempt, return_exceptions=True)
    return answers[0]


async def persist(run: Step) -> Any:
    """Runs it again as often as it asks for that, as the ledger does."""
    while True:
        try:
            return await run()
        except TryAgain:
            continue


# -- one payment --


async def test_a_paid_order_is_charged_and_its_stock_is_sold(shop: Shop):
    order = await shop.place(A=3)
    payment = await shop.submit_payment(order["id"])
    job = await shop.work(payment)
    assert job["result"] == {"order_id": order["id"], "order_state": "paid", "payment_id": payment}
    paid = await shop.order(order["id"])
    assert (paid["state"], paid["payments"]) == (
        "paid",
        [{"id": payment, "state": "captured", "reason": None}],
    )
    assert [each["state"] for each in paid["timeline"]] == ["pending", "reserved", "paid"]
    assert await shop.levels("A") == (97, 0)
    movements = await shop.services.inventory.movements("A", after=None, limit=10)
    assert sorted((row["kind"], row["quantity"]) for row in movements) == [("adjustment", 100), ("sale", -3)]
    await shop.check_books()
    await check_money(shop)


async def test_a_payment_that_runs_again_charges_once(shop: Shop, company: Company):
    order = await shop.place(A=1)
    payment = new_id()
    answers = [await pay(shop, order["id"], payment_id=payment) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert company.calls.count("authorise") == 1
    await shop.check_books()
    await check_money(shop)


async def test_a_declined_order_stays_reserved_and_can_be_paid_otherwise(shop: Shop):
    order = await shop.place(A=1)
    declined = await shop.work(await shop.submit_payment(order["id"], source="sandbox:decline"))
    assert (declined["state"], declined["error"]["code"]) == ("failed", "payment_declined")
    assert declined["error"]["detail"]["reason"] == "declined_by_issuer"
    assert (await shop.order(order["id"]))["state"] == "reserved"
    await check_money(shop)
    *_, told = await shop.services.events.after("ada", 0, limit=10)
    assert (told["type"], told["data"]) == (
        "payment.declined",
        {
            "payment_id": declined["_id"],
            "order_id": order["id"],
            "amount": 1000,
            "currency": "USD",
            "reason": "declined_by_issuer",
        },
    )
    assert (await pay(shop, order["id"]))["order_state"] == "paid"
    assert [each["state"] for each in (await shop.order(order["id"]))["payments"]] == ["declined", "captured"]
    await check_money(shop)


async def test_a_declined_payment_that_is_replayed_stays_declined(shop: Shop):
    order = await shop.place(A=1)
    payment = await shop.submit_payment(order["id"], source="sandbox:decline")
    await shop.work(payment)
    await shop.services.jobs.replay(payment, by="ops")
    assert (await shop.work(payment))["error"]["code"] == "payment_declined"
    await check_money(shop)


async def test_a_charge_whose_answer_was_lost_is_found_and_made_once(shop: Shop, company: Company):
    order = await shop.place(A=1)
    assert (await pay(shop, order["id"], source="sandbox:timeout"))["order_state"] == "paid"
    assert company.calls == ["authorise", "find", "capture"]
    await check_money(shop)


async def test_a_charge_that_was_lost_on_its_way_is_asked_for_again_under_its_key(
    shop: Shop, clock: MovableClock
):
    order = await shop.place(A=1)
    payment = await shop.submit_payment(order["id"], source="sandbox:timeout-unseen")
    waiting = await shop.work(payment)
    assert (waiting["state"], waiting["attempts"]) == ("queued", 0)
    assert (await shop.order(order["id"]))["state"] == "reserved"
    assert (await shop.work(payment))["state"] == "succeeded"
    assert (await shop.order(order["id"]))["state"] == "paid"
    await check_money(shop)


async def test_a_charge_that_arrives_twice_is_one(shop: Shop):
    order = await shop.place(A=1)
    await pay(shop, order["id"], source="sandbox:twice")
    await check_money(shop)


async def test_a_provider_that_is_silent_is_asked_again_later(shop: Shop, company: Company):
    order = await shop.place(A=1)
    payment = new_id()

    async def silence() -> None:
        raise ProviderTimeout("no answer")

    company.before_capture = silence
    with pytest.raises(TryAgain):
        await pay(shop, order["id"], payment_id=payment)
    company.before_capture = nothing
    assert (await pay(shop, order["id"], payment_id=payment))["order_state"] == "paid"
    assert company.calls.count("authorise") == 1
    await check_money(shop)


async def test_a_crash_between_commit_and_capture_captures_once_when_the_payment_runs_again(
    shop: Shop, company: Company, clock: MovableClock
):
    order = await shop.place(A=1)
    payment = await shop.submit_payment(order["id"])

    async def crash() -> None:
        raise asyncio.CancelledError

    company.before_capture = crash
    with pytest.raises(asyncio.CancelledError):
        await shop.work(payment)
    assert (await shop.order(order["id"]))["state"] == "paid"
    company.before_capture = nothing
    clock.move(seconds=3.1)
    assert await shop.services.relay.take_back() == 1
    job = await shop.work(payment)
    assert (job["state"], job["attempts"]) == ("succeeded", 2)
    assert company.calls == ["authorise", "capture", "capture"]
    await shop.check_books()
    await check_money(shop)


@LABELS
async def test_a_payment_whose_commit_went_unanswered_is_charged_once(shop: Shop, label: str):
    order = await shop.place(A=2)
    with commit_whose_answer_is_lost(label):
        assert (await pay(shop, order["id"]))["order_state"] == "paid"
    assert await shop.levels("A") == (98, 0)
    await shop.check_books()
    await check_money(shop)


async def test_a_payment_that_never_learns_of_its_commit_captures_when_it_runs_again(shop: Shop):
    order = await shop.place(A=2)
    payment = new_id()
    with commit_whose_answer_is_lost(None), pytest.raises(AutoReconnect):
        await pay(shop, order["id"], payment_id=payment)
    assert (await pay(shop, order["id"], payment_id=payment))["order_state"] == "paid"
    assert await shop.levels("A") == (98, 0)
    await shop.check_books()
    await check_money(shop)


async def test_money_that_is_not_handed_over_after_all_is_never_called_captured(shop: Shop, company: Company):
    order = await shop.place(A=1)
    payment = await shop.submit_payment(order["id"])

    async def lapse() -> None:
        await company.void(key=payment)

    company.before_capture = lapse
    job = await shop.work(payment)
    assert (job["state"], "CaptureRefused" in job["error"]["fault"]) == ("queued", True)
    assert (await shop.order(order["id"]))["payments"][0]["state"] == "voided"


async def not_handed_over(shop: Shop, company: Company, units: int) -> tuple[str, str]:
    """A paid order, and its payment that no money came of."""
    order = await shop.place(A=units)
    payment = await shop.submit_payment(order["id"])

    async def lapse() -> None:
        await company.void(key=payment)

    company.before_capture = lapse
    assert (await shop.work(payment))["state"] == "queued"
    company.before_capture = nothing
    return order["id"], payment


async def test_an_order_whose_money_never_came_is_cancelled_once_with_nothing_to_refund(
    shop: Shop, other: Shop, company: Company
):
    order_id, payment = await not_handed_over(shop, company, 2)
    assert await shop.levels("A") == (98, 0)
    with pytest.raises(RefundRefused):
        await shop.services.refunds.refund(
            order_id, RefundRequest(new_id(), None, restock=True, reason="no money", actor="staff")
        )
    await asyncio.gather(
        shop.services.orders.cancel(order_id, owner=None, by="staff", reason="no money came"),
        other.services.orders.cancel(order_id, owner="ada"),
        pay(other, order_id, payment_id=payment),
        return_exceptions=True,
    )
    order = await shop.order(order_id)
    assert order["state"] == "cancelled"
    assert [line["state"] for line in order["timeline"]].count("cancelled") == 1
    assert await shop.levels("A") == (100, 0)
    await shop.check_books()
    # Replayed, its payment asks for nothing any more; what is told of yet goes back.
    with pytest.raises(OrderNotPayable):
        await pay(shop, order_id, payment_id=payment)
    await shop.services.database[COLLECTION].update_one({"_id": payment}, {"$set": {"status": "captured"}})
    captured = PaymentNotice(provider="sandbox", type="payment.captured", payment_id=payment)
    assert (await shop.services.notices.handle(captured, notice_id="n"))["late"] == "refunded"


async def test_a_paid_order_is_not_cancelled_once_its_money_came_or_a_part_was_sent(
    shop: Shop, company: Company
):
    late, payment = await not_handed_over(shop, company, 1)
    await shop.services.database[COLLECTION].update_one({"_id": payment}, {"$set": {"status": "captured"}})
    sent, _ = await not_handed_over(shop, company, 2)
    await shop.services.fulfilment.fulfil(sent, Parcel({"A": 1}, "RM1", "Royal Mail", actor="staff", key="k"))
    for order_id in (late, sent):
        with pytest.raises(OrderNotCancellable) as refused:
            await shop.services.orders.cancel(order_id, owner="ada")
        assert refused.value.detail["allowed"] == ["fulfilled", "refunded"]
    assert (await shop.order(late))["payments"][0]["state"] == "captured"
    await shop.check_books()


async def test_a_payment_that_has_committed_and_not_captured_cannot_be_cancelled(
    shop: Shop, company: Company
):
    order = await shop.place(A=1)
    payment = await shop.submit_payment(order["id"])

    async def silence() -> None:
        raise ProviderTimeout(payment)

    company.before_capture = silence
    assert (await shop.work(payment))["state"] == "queued"
    with pytest.raises(JobRunning):
        await shop.services.jobs.cancel(payment, owner="ada", by="ada")
    company.before_capture = nothing
    assert (await shop.work(payment))["state"] == "succeeded"
    await check_money(shop)


async def test_declined_payments_do_not_keep_the_stock_for_ever(shop: Shop, clock: MovableClock):
    left, _ = await shop.levels("A")
    order = await shop.place(A=left)
    clock.move(minutes=14, seconds=58)
    with pytest.raises(PaymentDeclined):
        await shop.pay(order["id"], source="sandbox:decline")
    clock.move(seconds=3)
    with pytest.raises(OrderNotPayable):
        await shop.pay(order["id"])
    clock.move(seconds=10)
    assert (await shop.place(owner="bob", A=left))["state"] == "reserved"
    assert (await shop.order(order["id"]))["state"] == "expired"
    await shop.check_books()


async def test_somebody_elses_order_cannot_be_paid_nor_one_that_was_rejected(shop: Shop):
    order = await shop.place(owner="bob", A=1)
    with pytest.raises(OrderNotFound):
        await pay(shop, order["id"])
    with pytest.raises(OrderNotFound):
        await pay(shop, "nothing")
    rejected = await shop.place(A=1000)
    with pytest.raises(OrderNotPayable) as refused:
        await pay(shop, rejected["id"])
    assert refused.value.detail["state"] == "rejected"
    await check_money(shop)


# -- two payments --


async def test_a_second_payment_of_a_paid_order_is_refused_and_charges_nothing(shop: Shop, company: Company):
    order = await shop.place(A=1)
    await pay(shop, order["id"])
    with pytest.raises(OrderNotPayable):
        await pay(shop, order["id"])
    assert company.calls.count("authorise") == 1
    await check_money(shop)


@pytest.mark.parametrize("processes", [1, 2])
async def test_of_payments_at_once_one_is_captured_and_the_others_are_voided(
    shop: Shop, other: Shop, processes: int
):
    order = await shop.place(A=1)
    shops = [shop, other][:processes]
    answers = await asyncio.gather(
        *(pay(shops[n % processes], order["id"]) for n in range(6)), return_exceptions=True
    )
    assert Counter(type(answer) for answer in answers) == {dict: 1, OrderNotPayable: 5}
    await shop.check_books()
    await check_money(shop)


async def test_a_payment_that_another_overtakes_is_voided(shop: Shop, other: Shop, company: Company):
    order = await shop.place(A=1)

    async def overtake() -> None:
        company.after_authorise = nothing
        await pay(other, order["id"])

    company.after_authorise = overtake
    with pytest.raises(OrderNotPayable):
        await pay(shop, order["id"])
    assert company.calls == ["authorise", "authorise", "capture", "void"]
    await shop.check_books()
    await check_money(shop)


async def test_two_runs_of_one_payment_at_once_charge_once(shop: Shop, other: Shop):
    order = await shop.place(A=1)
    payment = new_id()
    answers = await asyncio.gather(
        *(pay(each, order["id"], payment_id=payment) for each in (shop, other, shop, other))
    )
    assert [answer["order_state"] for answer in answers] == ["paid"] * 4
    await shop.check_books()
    await check_money(shop)


async def test_a_run_that_finds_the_hold_ended_by_its_other_run_does_not_void_their_charge(
    shop: Shop, other: Shop, company: Company, monkeypatch: pytest.MonkeyPatch
):
    order = await shop.place(A=1)
    payment = new_id()
    extend = shop.services.holds.extend
    runs: list[Any] = []

    async def late_run() -> None:
        # Between the other run's commit and its capture, this one wakes up.
        company.before_capture = nothing
        waiting.set()
        runs.append(await outcome(slow))

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        arrived.set()
        await waiting.wait()
        return await extend(*args, **kwargs)

    arrived, waiting = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(shop.services.holds, "extend", slowly)
    slow = asyncio.create_task(pay(shop, order["id"], payment_id=payment))
    await arrived.wait()
    company.before_capture = late_run
    assert (await pay(other, order["id"], payment_id=payment))["order_state"] == "paid"
    assert [run["order_state"] for run in runs] == ["paid"]
    assert "void" not in company.calls
    await check_money(shop)


# -- a payment and the end of its hold, in both orders --


async def expire(shop: Shop, order_id: str) -> Any:
    return await shop.services.orders.expire([order_id])


async def cancel(shop: Shop, order_id: str) -> Any:
    return await shop.services.orders.cancel(order_id, owner="ada")


async def test_an_order_whose_hold_has_expired_cannot_be_paid_though_the_scheduler_is_down(
    shop: Shop, company: Company, clock: MovableClock
):
    counted = ("stockyard_hold_expiries_total", {"found_by": "payment"})
    before = REGISTRY.get_sample_value(*counted) or 0
    order = await shop.place(A=1)
    clock.move(minutes=15)
    with pytest.raises(OrderNotPayable):
        await pay(shop, order["id"])
    assert company.calls == []
    assert (await shop.order(order["id"]))["state"] == "expired"
    assert await shop.levels("A") == (100, 0)
    assert REGISTRY.get_sample_value(*counted) == before + 1
    await shop.check_books()
    await check_money(shop)


async def test_a_payment_in_time_keeps_the_hold_from_expiring_while_the_provider_thinks(
    shop: Shop, other: Shop, company: Company, clock: MovableClock
):
    order = await shop.place(A=1)
    clock.move(minutes=14, seconds=59)
    seen = []

    async def time_passes() -> None:
        clock.move(seconds=3)
        seen.append(await expire(other, order["id"]))

    company.after_authorise = time_passes
    assert (await pay(shop, order["id"]))["order_state"] == "paid"
    assert seen == [{"expired": 0}]
    await shop.check_books()
    await check_money(shop)


@pytest.mark.parametrize("moment", ["before_authorise", "after_authorise"])
@pytest.mark.parametrize("end", ["expire", "cancel", "sale"])
async def test_a_payment_that_the_end_of_its_hold_overtakes_is_voided(
    shop: Shop, other: Shop, company: Company, clock: MovableClock, *, end: str, moment: str
):
    await shop.adjust("A", -99)
    order = await shop.place(A=1)

    async def overtake() -> None:
        if end == "cancel":
            await cancel(other, order["id"])
            return
        # The provider took longer than it is ever given.
        clock.move(minutes=20)
        if end == "expire":
            await expire(other, order["id"])
        else:
            assert (await other.place(owner="bob", A=1))["state"] == "reserved"

    setattr(company, moment, overtake)
    with pytest.raises(OrderNotPayable):
        await pay(shop, order["id"])
    assert (await shop.order(order["id"]))["state"] == {"cancel": "cancelled"}.get(end, "expired")
    await shop.check_books()
    await check_money(shop)


@pytest.mark.parametrize("end", [expire, cancel])
async def test_the_end_of_a_hold_that_a_payment_overtakes_ends_nothing(
    shop: Shop, other: Shop, company: Company, clock: MovableClock, end: Any
):
    order = await shop.place(A=1)
    seen = []

    async def too_late() -> None:
        company.before_capture = nothing
        clock.move(minutes=20)
        seen.append(await outcome(end(other, order["id"])))

    company.before_capture = too_late
    assert (await pay(shop, order["id"]))["order_state"] == "paid"
    assert seen == [{"expired": 0}] or isinstance(seen[0], OrderNotCancellable)
    await shop.check_books()
    await check_money(shop)


async def test_a_late_charge_of_an_order_that_ended_meanwhile_finds_its_key_voided(
    shop: Shop, company: Company
):
    order = await shop.place(A=1)
    payment = new_id()
    with pytest.raises(TryAgain):
        await pay(shop, order["id"], payment_id=payment, source="sandbox:timeout-unseen")
    await cancel(shop, order["id"])
    with pytest.raises(OrderNotPayable):
        await pay(shop, order["id"], payment_id=payment, source="sandbox:timeout-unseen")
    # The request that was lost arrives after all.
    late = await company.authorise(key=payment, amount=Money(amount=1000), source="sandbox:timeout-unseen")
    assert late.status == "voided"
    await check_money(shop)


@pytest.mark.parametrize("end", [expire, cancel])
async def test_payments_that_race_the_ends_of_their_holds_each_have_one_winner(
    shop: Shop, other: Shop, clock: MovableClock, end: Any
):
    orders = [await shop.place(A=1) for _ in range(12)]
    clock.move(minutes=14, seconds=59, milliseconds=900)

    async def race(n: int, order_id: str) -> tuple[Any, Any]:
        async def paying() -> Any:
            await asyncio.sleep(n % 4 * 0.01)
            return await outcome(persist(lambda: pay(shop, order_id, payment_id=payment)))

        async def ending() -> Any:
            await asyncio.sleep(0.1 if end is expire else n % 3 * 0.01)
            return await outcome(persist(lambda: end(other, order_id)))

        payment = new_id()
        return await asyncio.gather(paying(), ending())

    results = await asyncio.gather(*(race(n, order["id"]) for n, order in enumerate(orders)))
    for order, (paid, _) in zip(orders, results, strict=True):
        state = (await shop.order(order["id"]))["state"]
        assert isinstance(paid, dict) == (state == "paid"), (paid, state)
        assert state in {"paid", "reserved" if end is expire else "", "expired", "cancelled"}
    await shop.check_books()
    clock.move(minutes=20)
    await shop.services.orders.expire([order["id"] for order in orders])
    await check_money(shop)
