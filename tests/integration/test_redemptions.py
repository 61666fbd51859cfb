"""A discount limit is never passed (P5): uses are held, committed and released with the stock."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.changes import GuardFailed
from domain.discounts.builder import Discount
from domain.discounts.redemptions import REMEMBERED, Ask
from domain.events.rules import SHOP
from domain.orders.checkout import OrderRequest
from domain.orders.refunds import RefundRequest
from domain.values import new_id
from tests.conftest import MovableClock
from tests.discounts import check_uses, make, usd, used
from tests.factories import ADDRESS, Shop, rewired
from tests.fakes import FakeLocks
from tests.transactions import (
    LABELS,
    commit_whose_answer_is_lost,
    each_update_runs_twice,
    just_before_the_commit,
    replace_commit,
)


@pytest.fixture(autouse=True)
async def books(shop: Shop) -> AsyncIterator[None]:
    """Whatever a test did, the books of stock and of uses agree."""
    yield
    await shop.check_books()
    await check_uses(shop.services)


@pytest.fixture
def two(shop: Shop, rewire: Callable[..., Services]) -> list[Shop]:
    """Two processes that share neither locks nor memory: only the store's guards are between them."""
    return [shop, Shop(rewire(locks=FakeLocks()))]


def tally(orders: list[dict[str, Any]]) -> Counter[str]:
    """States, and reasons of refusals."""
    found: Counter[str] = Counter(order["state"] for order in orders)
    for order in orders:
        if order["rejection"]:
            found.update(each["reason"] for each in order["rejection"]["detail"]["refusals"])
    return found


async def told(shop: Shop) -> list[dict[str, Any]]:
    """What the shop was told of discounts."""
    events = await shop.services.events.after(SHOP, 0, limit=100)
    return [event for event in events if event["type"] == "discount.exhausted"]


async def at_once(shops: list[Shop], count: int, **order: Any) -> list[dict[str, Any]]:
    owners = (order.pop("owner", None),) if "owner" in order else tuple(f"buyer{n}" for n in range(count))
    return await asyncio.gather(
        *(shops[n % len(shops)].place(owner=owners[n % len(owners)], **order) for n in range(count))
    )


# -- limits under races --


async def test_three_hundred_orders_at_once_on_a_limit_of_a_hundred_are_a_hundred(two: list[Shop]):
    shop = two[0]
    await shop.stock(A=1000)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(100))
    orders = await at_once(two, 300, codes=("SPRING",), A=2)
    assert tally(orders) == {"reserved": 100, "rejected": 200, "limit_reached": 200}
    assert {(order["discount"], order["total"]) for order in orders if order["state"] == "reserved"} == {
        (200, 1800)
    }
    assert await used(shop.services, spring) == (100, 0, 0)
    assert await shop.levels("A") == (800, 200)


async def test_a_budget_is_never_passed_although_many_spend_it_at_once(two: list[Shop]):
    shop = two[0]
    await shop.stock(A=1000)
    await make(shop.services, Discount.code("TEN").percent(10).budget(usd(1050)))
    orders = await at_once(two, 60, codes=("TEN",), A=1)
    assert tally(orders) == {"reserved": 10, "rejected": 50, "budget_spent": 50}


async def test_twenty_orders_at_once_of_one_customer_use_a_code_once(two: list[Shop]):
    shop = two[0]
    await shop.stock(A=1000)
    await make(shop.services, Discount.code("ONCE").fixed(usd(300)).once_per_customer())
    orders = await at_once(two, 20, owner="ada", codes=("ONCE",), A=1)
    assert tally(orders) == {"reserved": 1, "rejected": 19, "used_by_customer": 19}
    assert (await shop.place(owner="bob", codes=("ONCE",), A=1))["state"] == "reserved"


async def test_two_uses_per_customer_are_two_for_each_of_many(two: list[Shop]):
    shop = two[0]
    await shop.stock(A=1000)
    await make(shop.services, Discount.code("TWICE").percent(5).per_customer(2))
    owners = ["ada", "bob", "eve"] * 5
    orders = await asyncio.gather(
        *(two[n % 2].place(owner=owner, codes=("TWICE",), A=1) for n, owner in enumerate(owners))
    )
    reserved = Counter(
        owner for owner, order in zip(owners, orders, strict=True) if order["state"] == "reserved"
    )
    assert reserved == {"ada": 2, "bob": 2, "eve": 2}


async def test_a_batch_that_loses_the_last_use_decides_again(
    shop: Shop, two: list[Shop], monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=10)
    await make(shop.services, Discount.code("LAST").percent(10).limit(1))
    accepted = await shop.submit(codes=("LAST",), A=1)
    rival = just_before_the_commit(monkeypatch, lambda: two[1].place(owner="bob", codes=("LAST",), A=1))
    await shop.services.order_placing.settle(accepted.job_id)
    assert rival[0]["state"] == "reserved"
    order = await shop.order(accepted.job_id)
    assert order["rejection"]["code"] == "discount_refused"
    assert order["rejection"]["detail"] == {"refusals": [{"code": "LAST", "reason": "limit_reached"}]}


async def test_an_order_is_decided_again_where_the_terms_were_edited_meanwhile(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    await shop.stock(A=10)
    ten = await make(shop.services, Discount.code("TEN").percent(10))
    accepted = await shop.submit(codes=("TEN",), A=1)

    def edit() -> Any:
        return shop.services.discounts.edit(ten["_id"], lambda said: said.percent(30), expected=None)

    just_before_the_commit(monkeypatch, edit)
    await shop.services.order_placing.settle(accepted.job_id)
    assert (await shop.order(accepted.job_id))["discount"] == 300


async def test_a_budget_that_is_added_later_counts_what_was_taken_before(shop: Shop):
    await shop.stock(A=10)
    fresh = await make(shop.services, Discount.code("FRESH").percent(10))
    worn = await make(shop.services, Discount.code("WORN").percent(10))
    await shop.place(codes=("WORN",), A=1)
    for discount in (fresh, worn):
        await shop.services.discounts.edit(discount["_id"], lambda said: said.budget(usd(150)), expected=None)
    assert (await shop.place(codes=("FRESH",), A=1))["state"] == "reserved"
    orders = [await shop.place(codes=(code,), A=1) for code in ("FRESH", "WORN")]
    assert tally(orders) == {"rejected": 2, "budget_spent": 2}


async def test_orders_of_one_batch_see_what_those_before_them_took(shop: Shop):
    await shop.stock(A=100)
    await make(shop.services, Discount.code("THREE").percent(10).limit(3))
    jobs = [(await shop.submit(owner=f"b{n}", codes=("THREE",), A=1)).job_id for n in range(5)]
    await asyncio.gather(*(shop.services.order_placing.settle(job_id) for job_id in reversed(jobs)))
    states = [(await shop.order(job_id))["state"] for job_id in jobs]
    assert states == ["reserved"] * 3 + ["rejected"] * 2


# -- one key, one use --


async def test_a_redelivered_job_uses_a_code_once(shop: Shop, two: list[Shop]):
    await shop.stock(A=10)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(5))
    order = await shop.place(codes=("SPRING",), A=1)
    await asyncio.gather(*(each.services.order_placing.settle(order["id"]) for each in two for _ in range(5)))
    assert await used(shop.services, spring) == (1, 0, 0)


@LABELS
async def test_a_commit_without_an_answer_uses_a_code_once(shop: Shop, label: str):
    await shop.stock(A=10)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).once_per_customer())
    accepted = await shop.submit(codes=("SPRING",), A=1)
    with commit_whose_answer_is_lost(label):
        await shop.services.order_placing.settle(accepted.job_id)
    assert await used(shop.services, spring) == (1, 0, 0)


async def test_a_rejected_order_that_is_replayed_uses_what_was_given_back(shop: Shop):
    await shop.stock(A=10)
    one = await make(shop.services, Discount.code("ONE").percent(10).limit(1))
    first = await shop.place(owner="ada", codes=("ONE",), A=1)
    second = await shop.place(owner="bob", codes=("ONE",), A=1)
    assert second["state"] == "rejected"
    await shop.services.orders.cancel(first["id"], owner="ada")
    await shop.services.jobs.replay(second["id"], by="ops")
    await shop.services.order_placing.settle(second["id"])
    order = await shop.order(second["id"])
    assert (order["state"], order["discount"]) == ("reserved", 100)
    assert await used(shop.services, one) == (1, 0, 1)


# -- uses end with the hold --


async def test_a_use_is_held_by_an_order_and_committed_when_it_is_paid(shop: Shop):
    await shop.stock(A=10)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(1))
    order = await shop.place(codes=("spring",), A=1)
    assert await used(shop.services, spring) == (1, 0, 0)
    await shop.pay(order["id"])
    assert await used(shop.services, spring) == (0, 1, 0)
    refused = await shop.place(codes=("SPRING",), A=1)
    assert tally([refused]) == {"rejected": 1, "limit_reached": 1}


async def test_a_cancelled_order_gives_its_use_back_once_to_discount_and_customer(
    shop: Shop, two: list[Shop]
):
    await shop.stock(A=10)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(1).once_per_customer())
    order = await shop.place(codes=("SPRING",), A=1)
    await asyncio.gather(
        *(each.services.orders.cancel(order["id"], owner="ada") for each in two for _ in range(5))
    )
    assert await used(shop.services, spring) == (0, 0, 1)
    assert (await shop.place(codes=("SPRING",), A=1))["state"] == "reserved"


async def test_an_expired_order_gives_its_use_back(shop: Shop, clock: MovableClock, two: list[Shop]):
    await shop.stock(A=10)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).once_per_customer())
    orders = [await shop.place(owner=f"b{n}", codes=("SPRING",), A=1) for n in range(4)]
    clock.move(minutes=16)
    holds = [order["hold_id"] for order in orders]
    await asyncio.gather(*(each.services.orders.expire(holds) for each in two))
    assert await used(shop.services, spring) == (0, 0, 4)
    assert (await shop.place(owner="b0", codes=("SPRING",), A=1))["state"] == "reserved"


async def test_uses_of_expired_orders_block_no_sale_although_no_scheduler_runs(
    shop: Shop, clock: MovableClock
):
    await shop.stock(A=10, B=10)
    one = await make(shop.services, Discount.code("ONE").percent(10).limit(2).once_per_customer())
    first = await shop.place(owner="ada", codes=("ONE",), A=1)
    await shop.place(owner="eve", codes=("ONE",), A=1)
    assert (await shop.place(owner="bob", codes=("ONE",), B=1))["state"] == "rejected"
    clock.move(minutes=16)
    assert (await shop.place(owner="bob", codes=("ONE",), B=1))["state"] == "reserved"
    assert (await shop.place(owner="ada", codes=("ONE",), B=1))["state"] == "reserved"
    assert (await shop.order(first["id"]))["state"] == "expired"
    assert await used(shop.services, one) == (2, 0, 2)


async def test_payment_and_cancellation_at_once_end_a_use_one_way(shop: Shop, two: list[Shop]):
    await shop.stock(A=100)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(50))
    orders = [await shop.place(codes=("SPRING",), A=1) for _ in range(6)]
    both = [
        attempt
        for order in orders
        for attempt in (shop.pay(order["id"]), two[1].services.orders.cancel(order["id"], owner="ada"))
    ]
    await asyncio.gather(*both, return_exceptions=True)
    held, committed, released = await used(shop.services, spring)
    assert (held, committed + released) == (0, 6)


async def test_a_refund_in_part_keeps_the_use_and_one_of_the_rest_gives_it_back_once(
    shop: Shop, two: list[Shop]
):
    await shop.stock(A=10)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(1).once_per_customer())
    order = await shop.place(codes=("SPRING",), A=2)
    await shop.pay(order["id"])

    def refund(services: Services, refund_id: str, units: dict[str, int] | None) -> Any:
        request = RefundRequest(refund_id, units, restock=False, reason="broken", actor="staff")
        return services.refunds.refund(order["id"], request)

    await refund(shop.services, new_id(), {"A": 1})
    assert await used(shop.services, spring) == (0, 1, 0)
    rest = new_id()
    await asyncio.gather(*(refund(each.services, rest, None) for each in two for _ in range(3)))
    assert (await shop.order(order["id"]))["state"] == "refunded"
    assert await used(shop.services, spring) == (0, 0, 1)
    assert (await shop.place(codes=("SPRING",), A=1))["state"] == "reserved"


async def test_an_order_from_a_reservation_uses_its_codes_and_gives_them_back(shop: Shop):
    await shop.stock(A=10)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(1))
    reservation = await shop.reserve(A=2)
    order = await shop.place(reservation=reservation, codes=("SPRING",), A=2)
    assert (order["state"], order["discount"]) == ("reserved", 200)
    assert await used(shop.services, spring) == (1, 0, 0)
    await shop.services.orders.cancel(order["id"], owner="ada")
    assert await used(shop.services, spring) == (0, 0, 1)


async def test_an_order_without_stock_uses_no_code(shop: Shop):
    await shop.stock(A=1)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(1))
    order = await shop.place(codes=("SPRING",), A=2)
    assert order["rejection"]["code"] == "out_of_stock"
    assert await used(shop.services, spring) == (0, 0, 0)


async def test_a_cancelled_job_uses_no_code(shop: Shop):
    await shop.stock(A=1)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(1))
    accepted = await shop.submit(codes=("SPRING",), A=1)
    await shop.services.orders.cancel(accepted.job_id, owner="ada")
    await shop.services.order_placing.settle(accepted.job_id)
    assert await used(shop.services, spring) == (0, 0, 0)


# -- refusals, several codes, automatic ones --


async def test_a_code_that_does_not_apply_rejects_the_order_instead_of_charging_more(shop: Shop):
    await shop.stock(A=10)
    await make(shop.services, Discount.code("BIG").percent(10).min_spend(usd(5000)))
    order = await shop.place(codes=("BIG", "NOPE"), A=1)
    assert order["rejection"]["detail"] == {
        "refusals": [
            {"code": "BIG", "reason": "min_spend", "min_spend": 5000, "spent": 1000},
            {"code": "NOPE", "reason": "unknown_code"},
        ]
    }
    assert await shop.levels("A") == (10, 0)


async def test_several_codes_are_each_used_and_all_end_together(shop: Shop):
    await shop.stock(A=10)
    one = await make(shop.services, Discount.code("ONE").percent(10).stackable_with("TWO"))
    two = await make(shop.services, Discount.code("TWO").fixed(usd(100)))
    order = await shop.place(codes=("two", "ONE", "one"), A=1)
    assert (order["discount"], [each["code"] for each in order["discounts"]]) == (200, ["ONE", "TWO"])
    await shop.services.orders.cancel(order["id"], owner="ada")
    assert (await used(shop.services, one), await used(shop.services, two)) == ((0, 0, 1), (0, 0, 1))


async def test_an_automatic_discount_applies_by_itself_and_stops_when_it_is_used_up(
    shop: Shop, clock: MovableClock
):
    await shop.stock(A=10)
    launch = await make(shop.services, Discount.automatic("Launch week").percent(10).limit(2))
    orders = [await shop.place(owner=f"b{n}", A=1) for n in range(3)]
    assert [(order["state"], order["discount"]) for order in orders] == [
        ("reserved", 100),
        ("reserved", 100),
        ("reserved", 0),
    ]
    await shop.services.discounts.switch(launch["_id"], active=False)
    await shop.services.orders.cancel(orders[0]["id"], owner="b0")
    assert (await shop.place(A=1))["discount"] == 0
    clock.move(seconds=REMEMBERED.total_seconds())
    await shop.services.discounts.switch(launch["_id"], active=True)
    clock.move(seconds=REMEMBERED.total_seconds())
    assert (await shop.place(A=1))["discount"] == 100


@pytest.mark.parametrize("of", ["quote", "cart"])
async def test_a_new_automatic_discount_that_a_customer_was_told_of_is_known_to_whoever_places_her_order(
    shop: Shop, two: list[Shop], of: str
):
    await shop.stock(A=10)
    services = shop.services
    # The worker, and another process that accepts orders, have just looked: there is none.
    others = [two[1].services, rewired(services)]
    for each in others:
        await each.redemptions.offers([Ask("ada")])
    await make(services, Discount.automatic("Launch week").percent(10).once_per_customer())
    worker, front = others
    if of == "quote":
        item = {"sku": "A", "quantity": 1}
        quote = await services.quotes.make([item], codes=(), country="GB", account_id="ada")
        assert quote["total"] == 900
        request = OrderRequest("ada", ADDRESS, "k", {"quote_id": quote["_id"]})
        accepted = await front.checkout.order_quote(request, quote["_id"])
    else:
        await services.carts.add("account:ada", sku="A", quantity=1, key="k")
        request = OrderRequest("ada", ADDRESS, "k", {"cart": {}})
        accepted = await services.checkout.order_cart(request, version=None)
    # Somebody else's order in the same batch has it, too; and each counts for who made it.
    bob = await shop.submit(owner="bob", A=1)
    await asyncio.gather(*(worker.order_placing.settle(each.job_id) for each in (bob, accepted)))
    assert (await shop.order(accepted.job_id))["total"] == 900
    assert (await shop.order(bob.job_id))["state"] == "reserved"
    assert (await two[1].place(owner="ada", A=1))["total"] == 1000


async def test_an_automatic_discount_that_is_over_is_no_longer_read(shop: Shop, clock: MovableClock):
    await shop.stock(A=10)
    launch = Discount.automatic("Launch week").percent(10).ending(clock() + timedelta(minutes=1))
    row = await make(shop.services, launch)
    assert (await shop.place(A=1))["discount"] == 100
    clock.move(minutes=1)
    # Not for an instant after its end, be it remembered.
    assert (await shop.place(A=1))["discount"] == 0
    clock.move(seconds=REMEMBERED.total_seconds())
    assert (await shop.services.redemptions.offers([Ask("ada")])).rows == {}
    await shop.services.discounts.edit(row["_id"], lambda each: each.ending(None), expected=None)
    clock.move(seconds=REMEMBERED.total_seconds())
    assert (await shop.place(A=1))["discount"] == 100


async def test_an_edit_that_the_driver_repeats_is_no_stale_one(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    spring = await make(shop.services, Discount.code("SPRING").percent(10))
    with monkeypatch.context() as patch:
        each_update_runs_twice(patch)
        edited = await shop.services.discounts.edit(
            spring["_id"], lambda each: each.percent(20), expected=frozenset({spring["revision"]})
        )
    assert edited["percent"] == "20"


async def test_many_batches_at_once_share_an_automatic_discount(two: list[Shop]):
    shop = two[0]
    await shop.stock(A=1000)
    await make(shop.services, Discount.automatic("Launch week").percent(10).limit(25))
    orders = await at_once(two, 60, A=1)
    assert Counter(order["discount"] for order in orders) == {100: 25, 0: 35}
    assert {order["state"] for order in orders} == {"reserved"}


async def test_a_discount_for_a_group_is_for_its_members(shop: Shop):
    await shop.stock(A=10)
    await make(shop.services, Discount.code("TRADE").percent(10).for_group("trade"))
    accounts = shop.services.database["accounts"]
    await accounts.insert_one({"_id": "ada", "email": "ada@example.com", "groups": ["trade"]})
    assert (await shop.place(owner="ada", codes=("TRADE",), A=1))["discount"] == 100
    assert tally([await shop.place(owner="bob", codes=("TRADE",), A=1)]) == {"rejected": 1, "wrong_group": 1}


async def test_a_batch_without_codes_reads_nothing_of_discounts(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    await shop.services.redemptions.offers([Ask("ada")])

    def read(*_: Any) -> Any:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(type(shop.services.database["discounts"]), "find", read)
        assert (await shop.services.redemptions.offers([Ask("ada"), Ask("bob")])).rows == {}


# -- told once --


async def test_that_a_discount_is_exhausted_is_told_once_in_the_transaction_that_took_the_last_use(
    two: list[Shop],
):
    shop = two[0]
    await shop.stock(A=1000)
    spring = await make(shop.services, Discount.code("SPRING").percent(10).limit(30))
    orders = await at_once(two, 40, codes=("SPRING",), A=1)
    (event,) = await told(shop)
    assert (event["type"], event["subject"]) == ("discount.exhausted", spring["_id"])
    assert event["data"]["uses"] == 30
    reserved = next(order for order in orders if order["state"] == "reserved")
    await shop.services.orders.cancel(reserved["id"], owner=(await shop.job(reserved["id"]))["owner"])
    assert (await shop.place(owner="zoe", codes=("SPRING",), A=1))["state"] == "reserved"
    assert len(await told(shop)) == 1


async def test_a_raised_limit_can_be_exhausted_again(shop: Shop):
    await shop.stock(A=10)
    one = await make(shop.services, Discount.code("ONE").percent(10).limit(1))
    await shop.place(codes=("ONE",), A=1)
    await shop.services.discounts.edit(one["_id"], lambda said: said.limit(2), expected=None)
    await shop.place(codes=("ONE",), A=1)
    assert len(await told(shop)) == 2


async def test_the_event_is_not_told_where_its_transaction_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    await shop.stock(A=10)
    await make(shop.services, Discount.code("ONE").percent(10).limit(1))
    accepted = await shop.submit(key=new_id(), codes=("ONE",), A=1)

    async def never(*_: Any) -> None:
        raise GuardFailed(["uses of a discount"])

    with monkeypatch.context() as patch:
        replace_commit(patch, never)
        with pytest.raises(Exception, match="others kept"):
            await shop.services.order_placing.settle(accepted.job_id)
    assert await told(shop) == []
