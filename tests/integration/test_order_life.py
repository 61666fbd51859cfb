"""An order's life after it is paid: sent, completed, refunded; each once, whatever it races."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from domain.adapters.payments import COLLECTION, SandboxProvider
from domain.bootstrap import Services
from domain.discounts.builder import Discount
from domain.errors import (
    IdempotencyKeyReused,
    InvalidTransition,
    NothingLeft,
    NoticeMismatch,
    OrderNotFound,
    PaymentDeclined,
    RefundRefused,
    TooManyUnits,
    TryAgain,
)
from domain.orders.commands import RefundOrder, RefundUnits
from domain.orders.fulfilment import Parcel
from domain.orders.refunds import RefundRequest
from domain.ports import Charge, ProviderTimeout, Repaid
from domain.values import Money, new_id
from tests.conftest import MovableClock
from tests.discounts import make
from tests.factories import Shop
from tests.transactions import LABELS, commit_whose_answer_is_lost


class Company:
    """The sandbox, which can be told to be silent about refunds, or to refuse them."""

    def __init__(self, sandbox: SandboxProvider) -> None:
        self._sandbox = sandbox
        self.answers: list[str] = []

    async def authorise(self, *, key: str, amount: Money, source: str) -> Charge:
        return await self._sandbox.authorise(key=key, amount=amount, source=source)

    async def find(self, key: str) -> Charge | None:
        return await self._sandbox.find(key)

    async def capture(self, *, key: str) -> Charge:
        return await self._sandbox.capture(key=key)

    async def void(self, *, key: str) -> Charge:
        return await self._sandbox.void(key=key)

    async def refund(self, *, key: str, amount: Money, refund_key: str) -> Repaid:
        answer = self.answers.pop(0) if self.answers else "made"
        if answer == "refused":
            return Repaid(refund_key, "refused", "no_funds")
        if answer == "unseen":
            raise ProviderTimeout(key)
        repaid = await self._sandbox.refund(key=key, amount=amount, refund_key=refund_key)
        if answer == "lost":
            raise ProviderTimeout(key)
        return repaid


@pytest.fixture
def company(services: Services) -> Company:
    return Company(SandboxProvider(services.database, timeout=services.settings.payments.timeout))


@pytest.fixture
async def shop(rewire: Callable[..., Services], company: Company) -> Shop:
    shop = Shop(rewire(provider=company))
    await shop.stock(A=100, B=100)
    return shop


@pytest.fixture
def other(rewire: Callable[..., Services], company: Company) -> Shop:
    """Another process."""
    return Shop(rewire(provider=company))


async def paid(shop: Shop, **units: Any) -> str:
    order = await shop.place(**units)
    await shop.pay(order["id"])
    return str(order["id"])


async def refund(
    shop: Shop,
    order_id: str,
    units: Mapping[str, int] | None = None,
    *,
    refund_id: str = "",
    restock: bool = False,
) -> Any:
    request = RefundRequest(refund_id or new_id(), units, restock=restock, reason="broken", actor="staff")
    return await shop.services.refunds.refund(order_id, request)


async def fulfil(
    shop: Shop,
    order_id: str,
    units: Mapping[str, int] | None = None,
    *,
    key: str = "",
    carrier: str = "Royal Mail",
) -> Any:
    parcel = Parcel(units, "RM1", carrier, actor="staff", key=key or new_id())
    return await shop.services.fulfilment.fulfil(order_id, parcel)


async def together(*attempts: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*attempts, return_exceptions=True)


async def repaid(shop: Shop, order_id: str) -> int:
    """Minor units that the provider has paid back."""
    order = await shop.services.database["orders"].find_one({"_id": order_id})
    assert order is not None
    charge = await shop.services.database[COLLECTION].find_one({"_id": order["payment_id"]})
    assert charge is not None
    return sum((charge.get("refunds") or {}).values())


async def events(shop: Shop, prefix: str = "order.") -> Counter[str]:
    stored = await shop.services.events.after("ada", 0, limit=1000)
    return Counter(each["type"] for each in stored if each["type"].startswith(prefix))


# -- refunds --


async def test_a_whole_refund_pays_all_back_and_restocks(shop: Shop):
    order_id = await paid(shop, A=3)
    made = await refund(shop, order_id, restock=True)
    assert (made["order_state"], made["amount"]) == ("refunded", 3000)
    order = await shop.order(order_id)
    assert (order["state"], order["payments"][0]["state"]) == ("refunded", "refunded")
    assert [(each["state"], each["amount"]) for each in order["refunds"]] == [("done", 3000)]
    assert [(each["state"], each["actor"]) for each in order["timeline"]] == [
        ("pending", "ada"), ("reserved", "system"), ("paid", "ada"), ("paid", "staff"), ("refunded", "staff"),
    ]  # fmt: skip
    assert await repaid(shop, order_id) == 3000
    assert await shop.levels("A") == (100, 0)
    assert (await events(shop))["order.refunded"] == 1
    await shop.check_books()


async def test_lines_are_refunded_one_after_the_other_until_nothing_is_left(shop: Shop):
    order_id = await paid(shop, A=2, B=1)
    assert (await refund(shop, order_id, {"A": 1}))["amount"] == 1000
    assert (await shop.order(order_id))["state"] == "paid"
    assert await shop.levels("A") == (98, 0)
    with pytest.raises(TooManyUnits):
        await refund(shop, order_id, {"A": 2})
    assert (await refund(shop, order_id))["order_state"] == "refunded"
    with pytest.raises(InvalidTransition) as refused:
        await refund(shop, order_id)
    assert (refused.value.detail["state"], refused.value.detail["allowed"]) == ("refunded", [])
    assert await repaid(shop, order_id) == 3000


async def test_an_order_that_is_not_paid_cannot_be_refunded_sent_or_completed(shop: Shop):
    order = await shop.place(A=1)
    for attempt in (
        refund(shop, order["id"]),
        fulfil(shop, order["id"]),
        shop.services.fulfilment.complete(order["id"], actor="staff"),
    ):
        with pytest.raises(InvalidTransition) as refused:
            await attempt
        assert refused.value.detail["allowed"] == ["paid", "expired", "cancelled"]
    with pytest.raises(OrderNotFound):
        await refund(shop, "nothing")


@pytest.mark.parametrize("answer", ["lost", "unseen"])
async def test_a_refund_whose_answer_is_missing_is_made_once_when_it_runs_again(
    shop: Shop, company: Company, answer: str
):
    order_id = await paid(shop, A=1)
    company.answers = [answer]
    refund_id = new_id()
    with pytest.raises(TryAgain):
        await refund(shop, order_id, refund_id=refund_id)
    assert (await shop.order(order_id))["refunds"][0]["state"] == "started"
    for _ in range(2):
        assert (await refund(shop, order_id, refund_id=refund_id))["order_state"] == "refunded"
    assert await repaid(shop, order_id) == 1000
    assert (await events(shop))["order.refunded"] == 1


@LABELS
async def test_a_refund_whose_commit_went_unanswered_is_made_once(shop: Shop, label: str):
    order_id = await paid(shop, A=1)
    with commit_whose_answer_is_lost(label):
        assert (await refund(shop, order_id, restock=True))["order_state"] == "refunded"
    assert await shop.levels("A") == (100, 0)
    assert len((await shop.order(order_id))["refunds"]) == 1
    await shop.check_books()


async def test_a_refund_that_is_refused_leaves_everything_to_be_refunded(shop: Shop, company: Company):
    order_id = await paid(shop, A=1)
    company.answers = ["refused"]
    refund_id = new_id()
    for _ in range(2):
        with pytest.raises(RefundRefused):
            await refund(shop, order_id, refund_id=refund_id, restock=True)
    order = await shop.order(order_id)
    assert (order["state"], order["refunds"][0]["state"]) == ("paid", "refused")
    assert await shop.levels("A") == (99, 0)
    assert (await refund(shop, order_id))["order_state"] == "refunded"
    assert await events(shop, "order.refund") == {"order.refund_refused": 1, "order.refunded": 1}


async def test_a_refund_that_the_provider_makes_after_refusing_it_counts_only_while_it_fits(
    shop: Shop, company: Company
):
    for units, fits in (({"A": 1}, True), ({"A": 2}, False)):
        order_id, back = await paid(shop, A=2), new_id()
        company.answers = ["refused"]
        with pytest.raises(RefundRefused):
            await refund(shop, order_id, {"A": 1}, refund_id=back)
        if fits:
            made = await shop.services.refunds.finish(order_id, back)
            assert [each["state"] for each in made["refunds"]] == ["done"]
            continue
        await refund(shop, order_id, units)
        with pytest.raises(NoticeMismatch):
            await shop.services.refunds.finish(order_id, back)
        assert [each["state"] for each in (await shop.order(order_id))["refunds"]] == ["refused", "done"]


async def test_money_that_is_not_captured_yet_is_refunded_later(shop: Shop):
    order_id = await paid(shop, A=1)
    payments = shop.services.database["payments"]
    await payments.update_one({"order_id": order_id}, {"$set": {"state": "started"}})
    refund_id = new_id()
    with pytest.raises(TryAgain):
        await refund(shop, order_id, refund_id=refund_id)
    await payments.update_one({"order_id": order_id}, {"$set": {"state": "captured"}})
    assert (await refund(shop, order_id, refund_id=refund_id))["order_state"] == "refunded"


async def test_of_twenty_refunds_at_once_no_more_is_paid_back_than_was_paid(shop: Shop, other: Shop):
    order_id = await paid(shop, A=7)
    answers = await together(
        *(refund((shop, other)[n % 2], order_id, {"A": 1}, restock=True) for n in range(20))
    )
    while any(isinstance(answer, TryAgain) for answer in answers):
        again = [
            refund(shop, order_id, {"A": 1}, restock=True) for each in answers if isinstance(each, TryAgain)
        ]
        answers = [each for each in answers if not isinstance(each, TryAgain)] + await together(*again)
    kinds = Counter(type(answer) for answer in answers)
    assert kinds[dict] == 7, kinds
    assert kinds[dict] + kinds[TooManyUnits] + kinds[InvalidTransition] == 20, kinds
    order = await shop.order(order_id)
    assert (order["state"], await repaid(shop, order_id)) == ("refunded", 7000)
    assert [each["state"] for each in order["refunds"]] == ["done"] * 7
    assert await shop.levels("A") == (100, 0)
    assert (await events(shop))["order.refunded"] == 7
    await shop.check_books()


async def test_of_whole_refunds_at_once_one_is_made(shop: Shop, other: Shop):
    order_id = await paid(shop, A=2)
    answers = await together(*(refund((shop, other)[n % 2], order_id) for n in range(8)))
    kinds = Counter(type(answer) for answer in answers)
    assert kinds[dict] == 1, kinds
    assert kinds.keys() <= {dict, NothingLeft, InvalidTransition, TryAgain}
    assert await repaid(shop, order_id) == 2000


async def test_a_refund_runs_as_a_job_and_its_id_is_the_refunds(shop: Shop):
    order_id = await paid(shop, A=2)
    command = RefundOrder(order_id=order_id, lines=(RefundUnits(sku="A", quantity=1),), reason="broken")
    job_id = (await shop.services.jobs.submit(command, owner="staff", key=new_id())).job_id
    job = await shop.work(job_id)
    assert job["result"] == {
        "order_id": order_id, "order_state": "paid", "refund_id": job_id, "amount": 1000,
    }  # fmt: skip
    late = (
        await shop.services.jobs.submit(command.model_copy(update={"lines": None}), owner="staff", key="b")
    ).job_id
    await shop.work(late)
    refused = (await shop.services.jobs.submit(command, owner="staff", key="c")).job_id
    assert (await shop.work(refused))["error"]["code"] == "invalid_transition"


async def test_a_whole_refund_gives_uses_of_discounts_back_and_a_part_of_it_does_not(shop: Shop):
    await make(shop.services, Discount.code("ONCE").fixed(Money(amount=500)).once_per_customer())
    order = await shop.place(A=2, codes=("ONCE",))
    await shop.pay(order["id"])
    assert (await refund(shop, order["id"], {"A": 1}))["amount"] == 750
    assert (await shop.place(A=1, codes=("ONCE",)))["state"] == "rejected"
    assert (await refund(shop, order["id"]))["amount"] == 750
    assert (await shop.place(A=1, codes=("ONCE",)))["state"] == "reserved"


# -- fulfilment --


async def test_an_order_is_sent_in_parts_and_fulfilled_with_the_last(shop: Shop):
    order_id = await paid(shop, A=2, B=1)
    first, replayed = await fulfil(shop, order_id, {"A": 1})
    assert (first["order_state"], first["carrier"], replayed) == ("paid", "Royal Mail", False)
    with pytest.raises(TooManyUnits):
        await fulfil(shop, order_id, {"A": 2})
    last, _ = await fulfil(shop, order_id)
    assert (last["order_state"], [each["quantity"] for each in last["lines"]]) == ("fulfilled", [1, 1])
    with pytest.raises(InvalidTransition):
        await fulfil(shop, order_id)
    order = await shop.order(order_id)
    assert [each["tracking_number"] for each in order["fulfilments"]] == ["RM1", "RM1"]
    assert await events(shop, "order.fulfilled") == {"order.fulfilled": 2}


async def test_one_key_sends_once_and_another_parcel_under_it_is_refused(shop: Shop):
    order_id = await paid(shop, A=2)
    answers = await asyncio.gather(*(fulfil(shop, order_id, {"A": 1}, key="one") for _ in range(5)))
    assert len({made["id"] for made, _ in answers}) == 1
    assert (await fulfil(shop, order_id, {"A": 1}, key="one"))[1]
    with pytest.raises(IdempotencyKeyReused):
        await fulfil(shop, order_id, {"A": 1}, key="one", carrier="DHL")
    assert len((await shop.order(order_id))["fulfilments"]) == 1


async def test_what_is_refunded_before_it_is_sent_leaves_the_rest_fulfilled(shop: Shop):
    order_id = await paid(shop, A=1, B=1)
    await fulfil(shop, order_id, {"A": 1})
    assert (await refund(shop, order_id, {"B": 1}))["order_state"] == "fulfilled"


async def test_units_whose_refund_is_refused_after_the_rest_was_sent_can_still_be_sent(
    shop: Shop, company: Company
):
    order_id, back = await paid(shop, A=2), new_id()
    company.answers = ["unseen", "refused"]
    with pytest.raises(TryAgain):
        await refund(shop, order_id, {"A": 1}, refund_id=back)
    sent, _ = await fulfil(shop, order_id, {"A": 1})
    assert sent["order_state"] == "paid"
    with pytest.raises(NothingLeft):
        await fulfil(shop, order_id)
    with pytest.raises(RefundRefused):
        await refund(shop, order_id, {"A": 1}, refund_id=back)
    assert (await fulfil(shop, order_id))[0]["order_state"] == "fulfilled"


async def test_the_refund_of_what_was_not_sent_fulfils_the_order_once_its_money_is_back(
    shop: Shop, company: Company
):
    order_id, back = await paid(shop, A=2), new_id()
    company.answers = ["lost"]
    with pytest.raises(TryAgain):
        await refund(shop, order_id, {"A": 1}, refund_id=back)
    assert (await fulfil(shop, order_id, {"A": 1}))[0]["order_state"] == "paid"
    assert (await refund(shop, order_id, {"A": 1}, refund_id=back))["order_state"] == "fulfilled"
    assert await shop.services.database["order_completions"].count_documents({}) == 1


async def test_a_fulfilled_order_completes_once_by_staff_or_by_time(shop: Shop, clock: MovableClock):
    first, second = await paid(shop, A=1), await paid(shop, A=1)
    for order_id in (first, second):
        await fulfil(shop, order_id)
    fulfilment = shop.services.fulfilment
    for _ in range(2):
        assert (await fulfilment.complete(first, actor="staff"))["state"] == "completed"
    assert await fulfilment.complete_due() == 0
    clock.move(days=14)
    assert [await fulfilment.complete_due() for _ in range(2)] == [1, 0]
    assert (await shop.order(second))["timeline"][-1]["actor"] == "system"
    assert await events(shop, "order.completed") == {"order.completed": 2}
    assert (await refund(shop, first))["order_state"] == "refunded"


async def test_completions_at_once_count_one_and_a_refund_that_races_them_is_the_last_word(
    shop: Shop, other: Shop, clock: MovableClock
):
    orders = [await paid(shop, A=1) for _ in range(3)]
    for order_id in orders:
        await fulfil(shop, order_id)
    clock.move(days=14)
    runs = await together(
        shop.services.fulfilment.complete_due(),
        other.services.fulfilment.complete_due(),
        *(refund(other, order_id) for order_id in orders[:2]),
    )
    assert not [each for each in runs if isinstance(each, Exception)], runs
    assert [(await shop.order(each))["state"] for each in orders] == ["refunded", "refunded", "completed"]
    assert await shop.services.database["order_completions"].count_documents({}) == 0
    assert runs[0] + runs[1] == (await events(shop))["order.completed"]
    assert (await events(shop))["order.refunded"] == 2


async def test_one_parcel_that_is_sent_to_two_processes_is_new_to_one_of_them(shop: Shop, other: Shop):
    order_id = await paid(shop, A=2)
    sent = await asyncio.gather(*(fulfil(each, order_id, {"A": 1}, key="one") for each in (shop, other) * 2))
    assert sorted(replayed for _, replayed in sent) == [False, True, True, True]


@pytest.mark.parametrize("units", [None, {"A": 1}])
async def test_sending_and_refunding_at_once_never_send_what_was_refunded_first(
    shop: Shop, other: Shop, units: Mapping[str, int] | None
):
    for _ in range(3):
        order_id = await paid(shop, A=1)
        sent, back = await together(fulfil(shop, order_id, units), refund(other, order_id, units))
        order = await shop.order(order_id)
        assert isinstance(back, dict), back
        assert order["state"] == "refunded"
        reasons = [each["reason"] for each in order["timeline"]]
        if isinstance(sent, tuple):
            assert reasons.index("all is sent") < reasons.index("refund begun: broken")
        else:
            assert isinstance(sent, NothingLeft | TooManyUnits | InvalidTransition), sent
            assert order["fulfilments"] == []
        assert await repaid(shop, order_id) == 1000
    await shop.check_books()


# -- before it is paid --


async def test_nothing_but_placing_follows_on_a_pending_order(shop: Shop):
    order_id = (await shop.submit(A=1)).job_id
    for attempt in (
        shop.pay(order_id),
        refund(shop, order_id),
        fulfil(shop, order_id),
        shop.services.fulfilment.complete(order_id, actor="staff"),
    ):
        with pytest.raises(InvalidTransition) as refused:
            await attempt
        detail = refused.value.detail
        assert (detail["state"], detail["allowed"]) == ("pending", ["reserved", "rejected", "cancelled"])
    with pytest.raises(OrderNotFound):
        await shop.pay(order_id, owner="bob")
    await shop.services.orders.cancel(order_id, owner="ada")
    with pytest.raises(InvalidTransition) as refused:
        await shop.pay(order_id)
    assert refused.value.detail["state"] == "cancelled"


async def test_a_payment_that_may_not_begin_any_more_is_not_told_that_it_may(shop: Shop, clock: MovableClock):
    order = await shop.place(A=1)
    clock.move(minutes=14, seconds=58)
    with pytest.raises(PaymentDeclined):
        await shop.pay(order["id"], source="sandbox:decline")
    clock.move(seconds=3)
    with pytest.raises(InvalidTransition) as refused:
        await shop.pay(order["id"])
    assert refused.value.detail == {
        "order": order["id"], "state": "reserved", "wanted": "paid", "allowed": ["expired", "cancelled"],
    }  # fmt: skip


async def test_whoever_has_an_order_placed_again_is_in_its_history(shop: Shop):
    rejected = await shop.place(A=101)
    await shop.adjust("A", 1)
    cancelled = (await shop.submit(B=1)).job_id
    await shop.services.orders.cancel(cancelled, owner=None, by="staff", reason="a doublet")
    for order_id in (rejected["id"], cancelled):
        await shop.services.jobs.replay(order_id, by="ops")
        await shop.services.order_placing.settle(order_id)
    histories = [(await shop.order(each))["timeline"] for each in (rejected["id"], cancelled)]
    assert [[(each["state"], each["actor"], each["reason"]) for each in lines] for lines in histories] == [
        [
            ("pending", "ada", "it was ordered"), ("rejected", "system", "out_of_stock"),
            ("rejected", "ops", "its job was replayed"), ("reserved", "system", "its stock is held"),
        ],
        [
            ("pending", "ada", "it was ordered"), ("cancelled", "staff", "a doublet"),
            ("pending", "ops", "its job was replayed"), ("reserved", "system", "its stock is held"),
        ],
    ]  # fmt: skip


async def test_a_rejected_order_stays_so_where_its_replay_is_cancelled(shop: Shop):
    rejected = await shop.place(A=101)
    await shop.services.jobs.replay(rejected["id"], by="ops")
    with pytest.raises(InvalidTransition):
        await shop.services.orders.cancel(rejected["id"], owner="ada")
    await shop.services.jobs.cancel(rejected["id"], owner=None, by="ops")
    assert (await shop.order(rejected["id"]))["state"] == "rejected"
    assert await events(shop) == {"order.rejected": 1}


async def test_staff_and_customer_who_cancel_at_once_cancel_once_and_the_history_says_who(
    shop: Shop, other: Shop
):
    for n in range(6):
        order = await shop.place(A=1)
        by_staff = other.services.orders.cancel(order["id"], owner=None, by="staff", reason="a doublet")
        answers = await asyncio.gather(by_staff, shop.services.orders.cancel(order["id"], owner="ada"))
        assert list(answers) == [{"order_state": "cancelled"}] * 2
        last = (await shop.order(order["id"]))["timeline"][-1]
        assert (last["actor"], last["reason"]) in {("staff", "a doublet"), ("ada", None)}
        assert (await events(shop))["order.cancelled"] == n + 1
    await shop.check_books()


async def test_a_pending_order_that_is_cancelled_says_so_and_whoever_cancels_its_job_says_so_too(shop: Shop):
    first, second = await shop.submit(A=1), await shop.submit(A=1)
    assert (await shop.order(first.job_id))["payments"] == []
    assert await shop.services.orders.cancel(first.job_id, owner="ada") == {"order_state": "cancelled"}
    await shop.services.jobs.cancel(second.job_id, owner=None, by="ops")
    assert await events(shop) == {"order.cancelled": 2}
    await shop.services.orders.cancel(first.job_id, owner="ada")
    assert await events(shop) == {"order.cancelled": 2}
    last = (await shop.order(second.job_id))["timeline"][-1]
    assert (last["state"], last["actor"]) == ("cancelled", "ops")


async def test_an_order_that_is_paid_late_shows_how_long_it_is_kept(
    shop: Shop, company: Company, clock: MovableClock
):
    order = await shop.place(A=1)
    clock.move(minutes=14, seconds=59)
    with pytest.raises(TryAgain):
        await shop.pay(order["id"], source="sandbox:timeout-unseen")
    shown = await shop.order(order["id"])
    hold = await shop.services.holds.get(order["id"])
    assert hold is not None
    assert shown["expires_at"] > order["expires_at"]
    stored = await shop.services.database["orders"].find_one({"_id": order["id"]})
    assert stored is not None
    assert stored["expires_at"] == hold["expires_at"]
