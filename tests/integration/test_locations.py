"""Stock at several locations: chosen by priority, never split, never oversold (P3)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from domain.bootstrap import Services
from domain.errors import Invalid, LocationInUse, LocationTaken, NotFound, StaleRevision, UnknownLocation
from domain.inventory.strategies import STRATEGIES, Offer, strategy
from domain.settings import Inventory
from domain.values import new_id
from tests.factories import Shop
from tests.fakes import FakeLocks
from tests.transactions import (
    LABELS,
    commit_whose_answer_is_lost,
    each_update_runs_twice,
    just_before_the_commit,
)


async def open_location(shop: Shop, code: str, *, priority: int = 200, active: bool = True) -> None:
    await shop.services.locations.create(code=code, name=code, priority=priority, active=active)


async def receive(shop: Shop, sku: str, quantity: int, location: str) -> None:
    await shop.services.inventory.receive(
        sku=sku, quantity=quantity, location=location, reason="delivery", actor="tester", key=new_id()
    )


async def held_at(shop: Shop, hold_id: str) -> dict[str, int]:
    hold = await shop.services.holds.get(hold_id)
    assert hold is not None
    return {line["stock_id"]: line["quantity"] for line in hold["lines"]}


async def levels_at(shop: Shop, sku: str) -> dict[str, tuple[int, int]]:
    rows = await shop.services.inventory.levels(sku)
    return {row["location"]: (row["available"], row["reserved"]) for row in rows}


async def test_the_default_location_is_there_from_the_start_and_for_good(services: Services):
    locations = services.locations
    assert [row["_id"] for row in await locations.all()] == ["main"]
    with pytest.raises(LocationInUse):
        await locations.delete("main")
    await asyncio.gather(*(locations.all() for _ in range(10)))
    assert await services.database["locations"].count_documents({}) == 1


async def test_lines_of_one_order_come_from_the_first_location_that_has_all_of_each(shop: Shop):
    await shop.stock(A=2, B=9)
    await open_location(shop, "leith")
    await receive(shop, "A", 5, "leith")
    order = await shop.place(A=3, B=3)
    assert await held_at(shop, order["id"]) == {"leith:A": 3, "main:B": 3}
    await shop.pay(order["id"])
    assert await levels_at(shop, "A") == {"main": (2, 0), "leith": (2, 0)}
    # One line of two locations there is not.
    refused = await shop.place(A=3)
    assert refused["rejection"]["detail"] == {
        "lines": [{"sku": "A", "wanted": 3, "available": 2, "in_all": 4}]
    }
    await shop.check_books()


async def test_what_is_held_elsewhere_goes_back_there(shop: Shop):
    await shop.stock(A=0)
    await open_location(shop, "leith")
    await receive(shop, "A", 4, "leith")
    reservation = await shop.reserve(A=3)
    assert await levels_at(shop, "A") == {"main": (0, 0), "leith": (1, 3)}
    await shop.services.reservations.release(reservation, owner="ada")
    assert await levels_at(shop, "A") == {"main": (0, 0), "leith": (4, 0)}
    await shop.check_books()


async def test_the_lowest_priority_is_first_and_an_inactive_location_sells_nothing(shop: Shop):
    await shop.stock(A=5)
    locations = shop.services.locations
    await open_location(shop, "leith", priority=1)
    await receive(shop, "A", 5, "leith")
    assert list(await held_at(shop, await shop.reserve(A=1))) == ["leith:A"]
    await locations.change("leith", {"active": False})
    assert list(await held_at(shop, await shop.reserve(A=1))) == ["main:A"]
    await locations.change("main", {"active": False})
    order = await shop.place(A=1)
    assert order["rejection"]["code"] == "out_of_stock"
    unknown = await shop.place(GHOST=1)
    assert unknown["rejection"]["code"] == "unknown_sku"
    await shop.check_books()


async def test_another_process_learns_of_locations_soon(
    shop: Shop, services: Services, rewire: Callable[..., Services]
):
    brief = services.settings.model_copy(update={"inventory": Inventory(locations_for=timedelta())})
    other = Shop(rewire(settings=brief))
    await shop.stock(A=0)
    assert (await other.place(A=1))["state"] == "rejected"
    await open_location(shop, "leith")
    await receive(shop, "A", 1, "leith")
    assert (await other.place(A=1))["state"] == "reserved"


@pytest.mark.parametrize("name", ["by_priority", "most_left", "dearest"])
async def test_the_last_units_at_two_locations_sell_once_by_any_strategy(
    services: Services, rewire: Callable[..., Services], monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr("domain.inventory.strategies.STRATEGIES", dict(STRATEGIES))

    @strategy("dearest")
    def dearest(sku: str, units: int, offers: Sequence[Offer]) -> str:
        return max(offers, key=lambda offer: offer.location).location

    chosen = services.settings.model_copy(update={"inventory": Inventory(allocation=name)})
    # Two processes without locks: the guards alone decide.
    shops = [Shop(rewire(settings=chosen, locks=FakeLocks())) for _ in range(2)]
    await shops[0].stock(A=1)
    await open_location(shops[0], "leith")
    await receive(shops[0], "A", 1, "leith")
    orders = await asyncio.gather(
        *(shops[n % 2].place(owner=f"buyer{n}", A=1) for n in range(12)), return_exceptions=True
    )
    states = Counter(order["state"] for order in orders if isinstance(order, dict))
    assert states["reserved"] == 2
    assert await levels_at(shops[0], "A") == {"main": (0, 1), "leith": (0, 1)}
    await shops[0].check_books()


async def test_a_location_is_created_once_and_its_code_is_never_given_again(services: Services):
    locations = services.locations
    form = {"code": "leith", "name": "Leith", "priority": 5, "active": True}
    made = await asyncio.gather(*(locations.create(**form) for _ in range(5)))  # type: ignore[arg-type]
    assert Counter(created for _, created in made) == {True: 1, False: 4}
    with pytest.raises(LocationTaken):
        await locations.create(**(form | {"name": "Other"}))  # type: ignore[arg-type]
    await locations.delete("leith")
    assert [row["_id"] for row in await locations.all()] == ["main"]
    with pytest.raises(LocationTaken):
        await locations.create(**form)  # type: ignore[arg-type]
    for gone in (locations.get("leith"), locations.delete("leith"), locations.change("leith", {})):
        with pytest.raises(NotFound):
            await gone


async def test_there_are_so_many_locations_at_most(services: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("domain.inventory.locations.MOST_LOCATIONS", 2)
    form = {"name": "x", "priority": 5, "active": True}
    await services.locations.create(code="one", **form)  # type: ignore[arg-type]
    with pytest.raises(Invalid):
        await services.locations.create(code="two", **form)  # type: ignore[arg-type]
    _, created = await services.locations.create(code="one", **form)  # type: ignore[arg-type]
    assert not created


async def test_an_edit_of_a_revision_that_is_gone_changes_nothing(services: Services):
    first = await services.locations.get("main")
    second = await services.locations.change("main", {"name": "Dock"}, expected={first["revision"]})
    with pytest.raises(StaleRevision):
        await services.locations.change("main", {"name": "Other"}, expected={first["revision"]})
    assert await services.locations.get("main") == second


async def test_an_edit_that_the_driver_repeats_is_no_stale_one(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    first = await services.locations.get("main")
    with monkeypatch.context() as patch:
        each_update_runs_twice(patch)
        second = await services.locations.change("main", {"name": "Dock"}, expected={first["revision"]})
    assert await services.locations.get("main") == second


@LABELS
async def test_a_location_whose_deletion_went_unanswered_is_deleted_and_once(shop: Shop, label: str):
    await open_location(shop, "leith")
    with commit_whose_answer_is_lost(label):
        await shop.services.locations.delete("leith")
    with pytest.raises(NotFound):
        await shop.services.locations.delete("leith")


async def test_a_location_with_units_stays(shop: Shop):
    await shop.stock(A=0)
    await open_location(shop, "leith")
    await receive(shop, "A", 1, "leith")
    locations = shop.services.locations
    with pytest.raises(LocationInUse):
        await locations.delete("leith")
    order = await shop.place(A=1)
    with pytest.raises(LocationInUse):
        await locations.delete("leith")
    await shop.pay(order["id"])
    await locations.delete("leith")
    with pytest.raises(UnknownLocation):
        await receive(shop, "A", 1, "leith")
    assert await levels_at(shop, "A") == {"main": (0, 0)}
    # What was sold from there may still be returned: nothing is lost.
    movements = await shop.services.inventory.movements("A", after=None, limit=10)
    assert [(each["stock_id"], each["quantity"]) for each in movements] == [("leith:A", 1), ("leith:A", -1)]
    await shop.check_books()


@pytest.mark.parametrize("known", [True, False])
async def test_a_location_that_is_deleted_while_units_come_keeps_them_or_never_gets_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, *, known: bool
):
    await shop.stock(A=0)
    await open_location(shop, "leith")
    if known:
        await receive(shop, "A", 1, "leith")
        await shop.services.inventory.damage(
            sku="A", quantity=1, location="leith", reason="x", actor="tester", key="out"
        )
    with monkeypatch.context() as patch:
        just_before_the_commit(patch, lambda: shop.services.locations.delete("leith"))
        with pytest.raises(UnknownLocation):
            await receive(shop, "A", 5, "leith")
    assert await levels_at(shop, "A") == {"main": (0, 0)}
    await open_location(shop, "perth")
    with monkeypatch.context() as patch:
        refused = just_before_the_commit(patch, lambda: receive(shop, "A", 5, "perth"))
        with pytest.raises(LocationInUse):
            await shop.services.locations.delete("perth")
    assert refused == [None]
    assert await levels_at(shop, "A") == {"main": (0, 0), "perth": (5, 0)}
    await shop.check_books()
