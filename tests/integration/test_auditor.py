"""The auditor finds what differs, says why, repairs it, and is not misled by work in progress."""

import asyncio
from collections.abc import Callable

import pytest

from domain.bootstrap import Services
from domain.errors import NotFound
from domain.events.rules import SHOP
from domain.inventory.auditor import Audit
from domain.inventory.evidence import Finding
from domain.values import new_id
from tests.conftest import MovableClock
from tests.factories import Shop
from tests.transactions import LABELS, commit_whose_answer_is_lost, just_before_the_commit


@pytest.fixture
async def shop(shop: Shop) -> Shop:
    await shop.stock(A=10, B=10)
    return shop


async def spoil(shop: Shop, stock_id: str = "main:A", **by: int) -> None:
    """Makes a difference, as a bug or a hand in the store would."""
    await shop.services.database["stock"].update_one({"_id": stock_id}, {"$inc": by})


async def only_finding(shop: Shop) -> Finding:
    (finding,) = (await shop.services.auditor.audit()).findings
    return finding


async def repair(shop: Shop, sku: str | None = None) -> Audit:
    return await shop.services.auditor.repair(sku, actor="ops", reason="ticket 1")


async def test_books_that_are_right_have_no_findings(shop: Shop):
    paid = await shop.place(A=2, B=1)
    await shop.pay(paid["id"])
    await shop.reserve(A=3)
    audit = await shop.services.auditor.audit()
    assert (audit.stocks, audit.findings) == (2, ())
    assert (await repair(shop)).repaired == ()
    assert await shop.services.database["stock_movements"].count_documents({"kind": "repair"}) == 0
    with pytest.raises(NotFound):
        await shop.services.auditor.audit("GHOST")


@pytest.mark.parametrize("chunk", [1, 2, 5])
async def test_stock_is_read_in_parts_and_holds_that_lie_in_several_count_in_each(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, chunk: int
):
    monkeypatch.setattr("domain.inventory.auditor.CHUNK", chunk)
    await shop.stock(C=10, D=10, E=10)
    for _ in range(2):
        await shop.reserve(A=1, C=2, E=3)
    await shop.reserve(B=1, D=1)
    audit = await shop.services.auditor.audit()
    assert (audit.stocks, audit.findings) == (5, ())
    for number, sku in enumerate("ACE", start=1):
        await spoil(shop, f"main:{sku}", reserved=number, available=-number)
    found = (await shop.services.auditor.audit()).findings
    assert [(each.stock_id, each.figures.reserved, each.figures.held) for each in found] == [
        ("main:A", 3, 2), ("main:C", 6, 4), ("main:E", 9, 6),
    ]  # fmt: skip
    assert [each.stock_id for each in (await shop.services.auditor.audit("C")).findings] == ["main:C"]


async def test_units_that_no_hold_keeps_are_named_and_freed(shop: Shop):
    hold_id = await shop.reserve(A=3)
    await spoil(shop, reserved=2, available=-2)
    finding = await only_finding(shop)
    assert (finding.stock_id, finding.figures.reserved, finding.figures.held) == ("main:A", 5, 3)
    (because,) = finding.because
    assert because.startswith(f"5 units are reserved, and 1 hold(s) keep 3: {hold_id} holds 3 since ")
    assert [hold["_id"] for hold in finding.holds] == [hold_id]
    assert (await repair(shop)).repaired == ("main:A",)
    assert await shop.levels("A") == (7, 3)
    await shop.check_books()


async def test_units_without_a_movement_are_taken_out_again(shop: Shop):
    await spoil(shop, available=5)
    finding = await only_finding(shop)
    assert (finding.figures.moved, finding.figures.off) == (10, 5)
    assert finding.because[0].startswith("15 units are there, and the movements add up to 10")
    await repair(shop, "A")
    assert await shop.levels("A") == (10, 0)
    *_, noted = await shop.services.inventory.movements("A", after=None, limit=10)
    assert (noted["kind"], noted["quantity"], noted["actor"], noted["reason"]) == (
        "repair", 0, "ops", "ticket 1"
    )  # fmt: skip
    assert noted["repair"]["available"] == {"was": 15, "is": 10}
    await shop.check_books()


async def test_a_sale_without_its_movement_and_one_without_its_hold_are_named(shop: Shop):
    order = await shop.place(A=4)
    await shop.pay(order["id"])
    database = shop.services.database
    sale = await database["stock_movements"].find_one({"kind": "sale"})
    assert sale is not None
    await database["stock_movements"].delete_one({"_id": sale["_id"]})
    finding = await only_finding(shop)
    assert finding.because[1].startswith(f"hold {order['id']} was committed at ")
    await database["stock_movements"].insert_one(sale)
    await database["stock_movements"].insert_one({**sale, "_id": "ghost:main:A"})
    finding = await only_finding(shop)
    assert finding.because[1].startswith("movement ghost:main:A of ")
    assert len(finding.because) == 2


async def test_more_held_than_ever_came_is_made_up_for_by_a_movement(shop: Shop):
    await shop.reserve(A=10)
    await shop.services.database["stock_movements"].delete_many({"stock_id": "main:A"})
    await repair(shop)
    assert await shop.levels("A") == (0, 10)
    await shop.check_books()


async def test_less_than_nothing_is_found_and_mended(shop: Shop):
    await spoil(shop, available=-12)
    finding = await only_finding(shop)
    assert finding.because[0] == "-2 units are available: less than none"
    await repair(shop)
    assert await shop.levels("A") == (10, 0)


async def test_only_the_sku_that_is_named_is_looked_at_and_repaired(shop: Shop):
    await spoil(shop, "main:A", available=1)
    await spoil(shop, "main:B", available=1)
    assert [each.stock_id for each in (await shop.services.auditor.audit("B")).findings] == ["main:B"]
    assert (await repair(shop, "B")).repaired == ("main:B",)
    assert (await only_finding(shop)).stock_id == "main:A"


async def test_a_finding_says_when_the_timetable_last_found_it_right(shop: Shop, clock: MovableClock):
    await spoil(shop, available=1)
    assert (await only_finding(shop)).right_at is None
    await repair(shop)
    assert await shop.services.auditor.report() == 0
    right = (await shop.services.database["stock_audits"].find_one({}) or {})["at"]
    await spoil(shop, available=1)
    clock.move(hours=1)
    assert await shop.services.auditor.report() == 1
    assert (await only_finding(shop)).right_at == right


async def test_a_repair_that_makes_stock_low_says_so(shop: Shop):
    before = await shop.services.events.last(SHOP)
    await shop.reserve(A=4)
    await shop.services.database["stock"].update_one({"_id": "main:A"}, {"$inc": {"reserved": -4}})
    await spoil(shop, available=4)
    await shop.services.database["holds"].update_many({}, {"$set": {"lines.0.quantity": 8}})
    await repair(shop)
    assert await shop.levels("A") == (2, 8)
    (event,) = await shop.services.events.after(SHOP, before, limit=10)
    assert (event["type"], event["data"]["available"]) == ("stock.low", 2)


async def test_a_stock_that_changes_after_the_look_is_left_to_the_next_repair(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    await spoil(shop, available=5)
    with monkeypatch.context() as patch:
        just_before_the_commit(patch, lambda: shop.adjust("A", 1))
        assert (await repair(shop)).repaired == ()
    assert await shop.levels("A") == (16, 0)
    assert (await repair(shop)).repaired == ("main:A",)
    assert await shop.levels("A") == (11, 0)


@LABELS
async def test_a_repair_whose_commit_went_unanswered_is_done_once(shop: Shop, label: str):
    await spoil(shop, available=5)
    with commit_whose_answer_is_lost(label):
        assert (await repair(shop)).repaired == ("main:A",)
    assert await shop.services.database["stock_movements"].count_documents({"kind": "repair"}) == 1
    await shop.check_books()


async def test_work_in_progress_is_no_difference_and_a_difference_is_found_in_it(
    shop: Shop, rewire: Callable[..., Services]
):
    other = Shop(rewire())
    await shop.adjust("A", 100)
    done = asyncio.Event()

    async def work(each: Shop, buyer: str) -> None:
        while not done.is_set():
            order = await each.place(owner=buyer, A=1, B=1)
            if order["state"] == "reserved":
                await each.services.orders.cancel(order["id"], owner=buyer)
            await each.services.inventory.receive(sku="A", quantity=1, reason="x", actor=buyer, key=new_id())

    workers = [asyncio.create_task(work((shop, other)[n % 2], f"buyer{n}")) for n in range(8)]
    try:
        for _ in range(15):
            assert (await shop.services.auditor.audit()).findings == ()
        await spoil(shop, available=5)
        finding = await only_finding(shop)
        assert finding.figures.off == 5
    finally:
        done.set()
        await asyncio.gather(*workers)
    assert (await repair(shop)).repaired == ("main:A",)
    await shop.check_books()


async def test_what_old_audits_found_is_forgotten(shop: Shop, clock: MovableClock):
    auditor, notes = shop.services.auditor, shop.services.database["stock_audits"]
    await auditor.report()
    clock.move(days=89)
    await auditor.report()
    assert await notes.count_documents({}) == 2
    clock.move(days=2)
    await auditor.report()
    assert await notes.count_documents({}) == 2
