"""Stock is moved, never below what is held, once per key (P2, P3)."""

import asyncio
from collections import Counter

import pytest

from domain.bootstrap import Services
from domain.errors import BelowReserved, IdempotencyKeyReused, NotFound, SkuTaken, UnknownSku
from domain.inventory.movements import Moved
from domain.values import Money, new_id
from tests.factories import Shop
from tests.transactions import LABELS, commit_whose_answer_is_lost


async def adjust(
    services: Services,
    quantity: int,
    *,
    sku: str = "A",
    key: str = "",
    actor: str = "ada",
    reason: str = "count",
) -> Moved:
    return await services.inventory.adjust(
        sku=sku, quantity=quantity, reason=reason, actor=actor, key=key or new_id()
    )


async def test_a_new_product_has_an_empty_stock(services: Services, shop: Shop):
    await shop.stock(A=0)
    assert await shop.levels("A") == (0, 0)
    product = await services.products.get("A")
    (variant,) = product["variants"]
    assert (variant["sku"], variant["price"]) == ("A", {"amount": 1000, "currency": "USD"})


async def test_a_sku_is_introduced_once_however_many_try(services: Services, shop: Shop):
    results = await asyncio.gather(*(shop.stock(A=1) for _ in range(10)), return_exceptions=True)
    assert Counter(type(result) for result in results) == {type(None): 1, SkuTaken: 9}
    assert await shop.levels("A") == (1, 0)
    await shop.check_books()


async def test_units_come_and_go_as_movements(services: Services, shop: Shop):
    await shop.stock(A=0)
    for quantity in (10, -3, 5):
        assert not (await adjust(services, quantity)).replayed
    assert await shop.levels("A") == (12, 0)
    movements = await services.inventory.movements("A", after=None, limit=10)
    assert sorted(row["quantity"] for row in movements) == [-3, 5, 10]
    assert {row["kind"] for row in movements} == {"adjustment"}
    first, *others = movements
    assert await services.inventory.movements("A", after=first["_id"], limit=10) == others
    await shop.check_books()


async def test_no_adjustment_takes_what_is_held(services: Services, shop: Shop):
    await shop.stock(A=5)
    order = await shop.place(A=3)
    with pytest.raises(BelowReserved) as refused:
        await adjust(services, -3)
    assert refused.value.detail == {"sku": "A", "available": 2, "reserved": 3}
    await adjust(services, -2)
    assert await shop.levels("A") == (0, 3)
    await shop.pay(order["id"])
    assert await shop.levels("A") == (0, 0)
    await shop.check_books()


async def test_units_that_many_take_at_once_are_taken_once(services: Services, shop: Shop):
    await shop.stock(A=5)
    results = await asyncio.gather(*(adjust(services, -1) for _ in range(12)), return_exceptions=True)
    assert Counter(type(result) for result in results) == {Moved: 5, BelowReserved: 7}
    assert await shop.levels("A") == (0, 0)
    await shop.check_books()


async def test_adjustments_that_race_orders_never_oversell(services: Services, shop: Shop):
    await shop.stock(A=10)
    results = await asyncio.gather(
        *(shop.place(owner=f"buyer{n}", A=1) for n in range(10)),
        *(adjust(services, -1) for _ in range(10)),
        return_exceptions=True,
    )
    taken = sum(isinstance(result, Moved) for result in results)
    reserved = sum(isinstance(result, dict) and result["state"] == "reserved" for result in results)
    assert (taken + reserved, await shop.levels("A")) == (10, (0, reserved))
    await shop.check_books()


async def test_one_key_moves_once(services: Services, shop: Shop):
    await shop.stock(A=0)
    results = await asyncio.gather(*(adjust(services, 5, key="k") for _ in range(20)))
    assert Counter(result.replayed for result in results) == {False: 1, True: 19}
    assert await shop.levels("A") == (5, 0)
    await adjust(services, -5)
    assert (await adjust(services, 5, key="k")).replayed
    assert await shop.levels("A") == (0, 0)
    await shop.check_books()


async def test_a_key_is_of_its_actor(services: Services, shop: Shop):
    await shop.stock(A=0)
    assert not (await adjust(services, 5, key="k", actor="ada")).replayed
    assert not (await adjust(services, 5, key="k", actor="bob")).replayed
    assert await shop.levels("A") == (10, 0)


@pytest.mark.parametrize("change", [{"quantity": 6}, {"reason": "found"}, {"sku": "B"}, {"quantity": -99}])
async def test_a_used_key_with_another_body_is_refused(
    services: Services, shop: Shop, change: dict[str, object]
):
    await shop.stock(A=0, B=0)
    await adjust(services, 5, key="k")
    with pytest.raises(IdempotencyKeyReused):
        await adjust(services, **({"quantity": 5, "key": "k"} | change))  # type: ignore[arg-type]
    assert (await shop.levels("A"), await shop.levels("B")) == ((5, 0), (0, 0))


async def test_a_refused_adjustment_leaves_its_key_free(services: Services, shop: Shop):
    await shop.stock(A=0)
    with pytest.raises(BelowReserved):
        await adjust(services, -5, key="k")
    await adjust(services, 5)
    assert not (await adjust(services, -5, key="k")).replayed
    assert await shop.levels("A") == (0, 0)


@pytest.mark.parametrize("quantity", [5, -5])
async def test_an_unknown_sku_gets_no_stock(services: Services, shop: Shop, quantity: int):
    with pytest.raises(UnknownSku):
        await adjust(services, quantity, sku="GHOST")
    with pytest.raises(NotFound):
        await services.inventory.levels("GHOST")
    assert await services.database["stock"].count_documents({}) == 0
    assert await services.database["stock_movements"].count_documents({}) == 0


@LABELS
@pytest.mark.parametrize("quantity", [5, -5])
async def test_an_adjustment_whose_commit_went_unanswered_moves_once(
    services: Services, shop: Shop, label: str, quantity: int
):
    await shop.stock(A=5)
    with commit_whose_answer_is_lost(label):
        await adjust(services, quantity)
    assert await shop.levels("A") == (5 + quantity, 0)
    await shop.check_books()


@LABELS
async def test_a_product_whose_introduction_went_unanswered_is_there(services: Services, label: str):
    with commit_whose_answer_is_lost(label):
        product = await services.inventory.introduce(
            sku="A", name="A", price=Money(amount=1000), category="Goods"
        )
    assert (await services.products.get("A"))["_id"] == product["_id"]
    assert (await services.inventory.levels("A"))[0]["available"] == 0
