"""What people do to stock: each once per key, never below what is held, with every unit accounted for."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from domain.bootstrap import Services
from domain.changes import Changes
from domain.errors import (
    BelowReserved,
    IdempotencyKeyReused,
    Invalid,
    TryAgain,
    UnknownLocation,
    UnknownSku,
)
from domain.inventory import stock
from domain.inventory.holds import TRIES
from domain.inventory.movements import Moved
from domain.values import new_id, utcnow
from tests.factories import Shop
from tests.fakes import FakeLocks
from tests.transactions import LABELS, commit_whose_answer_is_lost, replace_commit

#: One of each, as (verb, what it is about).
OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("receive", {"quantity": 4, "location": "leith"}),
    ("count", {"counted": 7}),
    ("damage", {"quantity": 2}),
    ("take_back", {"quantity": 1, "order_id": new_id()}),
    ("transfer", {"quantity": 3, "source": "main", "target": "leith"}),
]
each_operation = pytest.mark.parametrize(("verb", "about"), OPERATIONS, ids=[verb for verb, _ in OPERATIONS])


@pytest.fixture
async def shop(shop: Shop) -> Shop:
    """Ten units at one of two locations."""
    await shop.stock(A=10)
    await shop.services.locations.create(code="leith", name="Leith", priority=200, active=True)
    return shop


async def do(shop: Shop, verb: str, *, key: str = "", **about: Any) -> Moved:
    by = {"sku": "A", "reason": "test", "actor": "tester", "key": key or new_id()} | about
    moved: Moved = await getattr(shop.services.inventory, verb)(**by)
    return moved


async def levels(shop: Shop) -> dict[str, tuple[int, int]]:
    rows = await shop.services.inventory.levels("A")
    return {row["location"]: (row["available"], row["reserved"]) for row in rows}


async def test_each_operation_moves_what_it_says(shop: Shop):
    await shop.reserve(A=2)
    moved = {verb: (await do(shop, verb, **about)).movements for verb, about in OPERATIONS}
    told = {verb: [(row["stock_id"], row["quantity"]) for row in rows] for verb, rows in moved.items()}
    assert told == {
        "receive": [("leith:A", 4)],
        "count": [("main:A", -3)],
        "damage": [("main:A", -2)],
        "take_back": [("main:A", 1)],
        "transfer": [("main:A", -3), ("leith:A", 3)],
    }
    assert await levels(shop) == {"main": (1, 2), "leith": (7, 0)}
    rows = await shop.services.inventory.movements("A", after=None, limit=100)
    assert Counter(row["kind"] for row in rows) == {
        "adjustment": 1, "receipt": 1, "count": 1, "damage": 1, "return": 1, "transfer": 2
    }  # fmt: skip
    assert {(row["reason"], row["actor"]) for row in rows} == {("test", "tester")}
    (out, into) = moved["transfer"]
    assert (out["other"], into["other"]) == ("leith", "main")
    assert moved["take_back"][0]["order_id"] == OPERATIONS[3][1]["order_id"]
    assert moved["count"][0]["counted"] == 7
    here = await shop.services.inventory.movements("A", after=None, limit=100, location="leith")
    assert [row["quantity"] for row in here] == [4, 3]
    await shop.check_books()


async def test_movements_of_all_locations_come_in_pages_in_the_order_of_their_time(shop: Shop):
    for verb, about in OPERATIONS:
        await do(shop, verb, **about)
    inventory = shop.services.inventory
    whole = await inventory.movements("A", after=None, limit=100)
    found: list[str] = []
    while page := await inventory.movements("A", after=found[-1] if found else None, limit=2):
        found += [row["_id"] for row in page]
    assert found == [row["_id"] for row in whole]
    assert [row["at"] for row in whole] == sorted(row["at"] for row in whole)


@each_operation
async def test_an_operation_happens_once_per_key_however_many_send_it(
    shop: Shop, verb: str, about: dict[str, Any]
):
    made = await asyncio.gather(*(do(shop, verb, key="k", **about) for _ in range(6)))
    assert Counter(each.replayed for each in made) == {False: 1, True: 5}
    assert len({tuple(row["_id"] for row in each.movements) for each in made}) == 1
    after = await levels(shop)
    await do(shop, "receive", quantity=1)
    assert (await do(shop, verb, key="k", **about)).replayed
    assert (await levels(shop))["main"][0] == after["main"][0] + 1
    with pytest.raises(IdempotencyKeyReused):
        await do(shop, verb, key="k", **(about | {"reason": "another"}))
    amount = "counted" if "counted" in about else "quantity"
    with pytest.raises(IdempotencyKeyReused):
        await do(shop, verb, key="k", **(about | {amount: 6}))
    assert not (await do(shop, verb, key="k", **about, actor="another")).replayed
    await shop.check_books()


async def test_the_last_units_leave_once_per_key_although_processes_without_locks_try_at_once(
    shop: Shop, rewire: Callable[..., Services]
):
    shops = [Shop(rewire(locks=FakeLocks())) for _ in range(4)]
    for number in range(4):
        made = await asyncio.gather(*(do(each, "damage", key=f"k{number}", quantity=10) for each in shops))
        assert Counter(each.replayed for each in made) == {False: 1, True: 3}
        await do(shop, "receive", quantity=10)
    await shop.check_books()


@LABELS
@each_operation
async def test_an_operation_whose_commit_went_unanswered_happens_once(
    shop: Shop, verb: str, about: dict[str, Any], label: str
):
    await do(shop, "receive", quantity=1, location="leith")
    with commit_whose_answer_is_lost(label):
        await do(shop, verb, **about)
    kind = {"receive": "receipt", "take_back": "return"}.get(verb, verb)
    rows = await shop.services.inventory.movements("A", after=None, limit=100)
    assert sum(row["kind"] == kind for row in rows) == (2 if verb in {"receive", "transfer"} else 1)
    await shop.check_books()


@pytest.mark.parametrize(
    ("verb", "about"),
    [
        ("damage", {"quantity": 4}),
        ("transfer", {"quantity": 4, "source": "main", "target": "leith"}),
        ("transfer", {"quantity": 1, "source": "leith", "target": "main"}),
        ("damage", {"quantity": 1, "location": "leith"}),
    ],
)
async def test_nothing_takes_what_is_held_or_not_there(shop: Shop, verb: str, about: dict[str, Any]):
    await shop.reserve(A=7)
    with pytest.raises(BelowReserved):
        await do(shop, verb, key="k", **about)
    assert (await levels(shop))["main"] == (3, 7)
    # A refusal leaves the key free.
    await do(shop, "receive", quantity=4, location="leith")
    await do(shop, "receive", quantity=4)
    assert not (await do(shop, verb, key="k", **about)).replayed
    await shop.check_books()


async def test_a_count_may_find_just_what_is_held_and_one_that_finds_no_difference_is_noted(shop: Shop):
    await shop.reserve(A=7)
    with pytest.raises(BelowReserved):
        await do(shop, "count", counted=6)
    assert (await do(shop, "count", counted=7)).movement["quantity"] == -3
    same = await do(shop, "count", counted=7)
    assert (same.movement["quantity"], same.movement["counted"]) == (0, 7)
    assert await levels(shop) == {"main": (0, 7)}


async def test_places_and_skus_have_to_exist_and_a_transfer_goes_somewhere_else(shop: Shop):
    with pytest.raises(UnknownLocation):
        await do(shop, "receive", quantity=1, location="atlantis")
    with pytest.raises(UnknownLocation):
        await do(shop, "transfer", quantity=1, source="main", target="atlantis")
    with pytest.raises(UnknownSku):
        await do(shop, "receive", sku="GHOST", quantity=1, location="leith")
    with pytest.raises(Invalid) as refused:
        await do(shop, "transfer", quantity=1, source="main", target="main")
    assert refused.value.detail["reason"] == "same_location"
    assert await levels(shop) == {"main": (10, 0)}


async def test_a_location_gets_one_stock_of_a_sku_however_many_bring_it(
    shop: Shop, rewire: Callable[..., Services]
):
    shops = [Shop(rewire(locks=FakeLocks())) for _ in range(4)]
    await asyncio.gather(*(do(each, "receive", quantity=2, location="leith") for each in shops))
    assert (await levels(shop))["leith"] == (8, 0)
    location = await shop.services.locations.get("leith")
    assert location["stocks"] == 1
    await shop.check_books()


async def test_others_that_are_always_first_make_it_ask_to_be_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    tries: list[int] = []

    async def disturb(_: Changes, commit: Callable[[], Any]) -> None:
        tries.append(1)
        await shop.services.database["stock"].update_one({"_id": "main:A"}, {"$inc": {"available": 1}})
        await commit()

    replace_commit(monkeypatch, disturb)
    with pytest.raises(TryAgain):
        await do(shop, "count", counted=5)
    assert len(tries) == TRIES


async def test_orders_and_transfers_at_once_oversell_nothing(shop: Shop, rewire: Callable[..., Services]):
    await do(shop, "receive", quantity=90)
    other = Shop(rewire())
    orders, moves = await asyncio.gather(
        asyncio.gather(*((shop, other)[n % 2].place(owner=f"buyer{n % 8}", A=1) for n in range(200))),
        asyncio.gather(
            *(
                do((shop, other)[n % 2], "transfer", quantity=5, source=source, target=target)
                for n, (source, target) in enumerate([("main", "leith"), ("leith", "main")] * 8)
            ),
            return_exceptions=True,
        ),
    )
    assert {type(each) for each in moves} <= {Moved, BelowReserved}
    states = Counter(order["state"] for order in orders)
    found = await levels(shop)
    assert sum(reserved for _, reserved in found.values()) == states["reserved"]
    assert sum(available for available, _ in found.values()) == 100 - states["reserved"]
    # Nobody is refused while there is a unit, unless it was just on its way.
    assert states["reserved"] >= 95
    await shop.check_books()


async def test_counts_and_orders_at_once_end_where_the_last_count_and_the_sales_since_put_them(
    shop: Shop, rewire: Callable[..., Services]
):
    others = [Shop(rewire(locks=FakeLocks())), shop]
    results = await asyncio.gather(
        *(others[n % 2].place(owner=f"buyer{n}", A=1) for n in range(10)),
        *(do(others[n % 2], "count", counted=10 + n) for n in range(4)),
        return_exceptions=True,
    )
    assert {type(each) for each in results} <= {dict, Moved, TryAgain}
    counted = [each.movement for each in results if isinstance(each, Moved)]
    assert counted
    available, reserved = (await levels(shop))["main"]
    assert available + reserved == 10 + sum(each["quantity"] for each in counted)
    assert available + reserved in {each["counted"] for each in counted}
    await shop.check_books()


async def test_refunded_units_come_back_where_they_were_sold_from_once_per_refund(shop: Shop):
    order = await shop.place(A=4)
    await shop.pay(order["id"])
    hold = await shop.services.holds.get(order["id"])
    assert hold is not None

    async def refund(refund_id: str, quantity: int) -> None:
        lines = [{**hold["lines"][0], "quantity": quantity}]
        seen = await stock.levels(shop.services.database, ["main:A"])
        changes = Changes()
        stock.returned(
            changes, seen, refund_id=refund_id, order_id=order["id"], lines=lines, actor="ops",
            reason="refund", at=utcnow(),
        )  # fmt: skip
        await changes.commit(shop.services.database)

    await refund("r1", 1)
    await refund("r2", 2)
    with pytest.raises(Exception, match=r"E11000|duplicate"):
        await refund("r1", 1)
    assert await levels(shop) == {"main": (9, 0)}
    rows = await shop.services.inventory.movements("A", after=None, limit=10)
    assert [row["quantity"] for row in rows if row["kind"] == "return"] == [1, 2]
    await shop.check_books()
