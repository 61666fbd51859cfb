"""The index of a process follows what every process writes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from domain.bootstrap import Services
from domain.changes import Changes
from domain.products import search, search_index
from domain.products.builder import Query
from domain.products.forms import NewProduct, ProductEdit
from domain.products.models import PRODUCTS
from domain.products.search_index import RECENT, ROWS, SEARCH_CHANGES, project, row_of
from tests.factories import Shop

Rewire = Callable[..., Services]


async def add(services: Services, sku: str, name: str, **given: Any) -> str:
    form = {"sku": sku, "name": name, "category": "Goods", "price": {"amount": 1000}} | given
    product: dict[str, Any] = await services.products.add(NewProduct.model_validate(form))
    return str(product["_id"])


async def names(services: Services, text: str) -> list[str]:
    found = await services.search.find(Query.text(text).build(), limit=200)
    return [product["name"] for product in found.products]


async def rename(services: Services, product_id: str, name: str) -> None:
    await services.products.edit(product_id, ProductEdit(name=name), expected=None, actor="test")


async def test_another_process_sees_what_this_one_wrote_at_its_next_question(
    services: Services, rewire: Rewire
):
    other = rewire()
    tea = await add(services, "T", "Tea")
    assert await names(other, "tea") == ["Tea"]
    await rename(services, tea, "Coffee")
    await add(services, "U", "Tea urn")
    assert await names(other, "tea") == ["Tea urn"]
    assert await names(other, "coff") == ["Coffee"]
    await services.products.delete(tea, expected=None, actor="test")
    assert await names(other, "coffee") == []


async def test_a_process_that_is_far_behind_reads_everything_again(
    services: Services, rewire: Rewire, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search_index, "RECENT", 2)
    other = rewire()
    product_id = await add(services, "T", "Tea 0")
    assert await names(other, "tea") == ["Tea 0"]
    for number in range(1, 5):
        await rename(services, product_id, f"Tea {number}")
    assert await names(other, "tea") == ["Tea 4"]
    row = await services.database[SEARCH_CHANGES].find_one({"_id": row_of(product_id)})
    assert row is not None
    assert (row["version"], len(row["recent"])) == (5, 2)


async def test_a_rebuild_finds_what_was_written_past_the_verbs(services: Services, rewire: Rewire):
    other = rewire()
    product_id = await add(services, "T", "Tea")
    assert await names(other, "tea") == ["Tea"]
    written = {"$set": {"name": "Coffee", "revision": "by hand"}}
    await services.database[PRODUCTS].update_one({"_id": product_id}, written)
    assert await names(other, "coffee") == []
    await services.search.rebuild()
    assert await names(other, "coffee") == ["Coffee"]


async def test_a_transaction_that_fails_leaves_no_trace_in_the_index(services: Services):
    await add(services, "T", "Tea")
    assert await names(services, "tea") == ["Tea"]
    before = await services.database[SEARCH_CHANGES].find().to_list()
    with pytest.raises(Exception, match="SKU"):
        await add(services, "T", "Teapot")
    assert await names(services, "tea") == ["Tea"]
    assert await services.database[SEARCH_CHANGES].find().to_list() == before


def test_a_load_of_many_products_counts_each_row_once():
    changes = Changes()
    ids = [f"product-{number}" for number in range(100)]
    for product_id in ids:
        project(changes, [product_id])
    assert len(changes.guards) == ROWS
    noted = [each for guard in changes.guards for each in guard.update["$push"]["recent"]["$each"]]
    assert sorted(noted) == sorted(ids)
    assert sum(guard.update["$inc"]["version"] for guard in changes.guards) == len(ids)
    assert all(guard.update["$push"]["recent"]["$slice"] == -RECENT for guard in changes.guards)


async def test_processes_that_start_together_make_the_rows_once(services: Services, rewire: Rewire):
    await services.database[SEARCH_CHANGES].delete_many({})
    others = [rewire() for _ in range(4)]
    await asyncio.gather(*(each.search.prepare() for each in others))
    assert await services.database[SEARCH_CHANGES].count_documents({}) == ROWS


async def test_edits_at_once_end_with_the_last_one_found(services: Services, rewire: Rewire):
    processes = [services, *(rewire() for _ in range(2))]
    product_id = await add(services, "T", "Tea")

    async def edit_and_ask(number: int) -> None:
        await rename(processes[number % 3], product_id, f"Tea {number}")
        assert len(await names(processes[(number + 1) % 3], "tea")) == 1

    await asyncio.gather(*(edit_and_ask(number) for number in range(9)))
    last = (await services.products.get(product_id))["name"]
    assert [await names(each, "tea") for each in processes] == [[last]] * 3


async def test_a_question_that_cannot_be_answered_leaves_the_next_one_alone(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    await add(services, "T", "Tea")
    index = services.search._index

    async def fail() -> None:
        raise PyMongoError("away")

    with monkeypatch.context() as patch:
        patch.setattr(index, "_load", fail)
        with pytest.raises(PyMongoError):
            await names(services, "tea")
        await services.search.warm()
    assert await names(services, "tea") == ["Tea"]


async def test_a_page_of_stock_is_bounded_and_the_next_one_goes_on(
    services: Services, shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search, "MOST_STOCK_CHECKED", 3)
    monkeypatch.setattr(search, "MOST_STOCK_COUNTED", 3)
    await shop.stock(A=0, B=0, C=0, D=1, E=0, F=1)
    query = Query.all().in_stock().build()
    with monkeypatch.context() as unbounded:
        unbounded.setattr(search, "MOST_STOCK_CHECKED", 6)
        full = await services.search.find(query, limit=1)
        assert ([each["name"] for each in full.products], full.following is None) == (["D"], False)
    first = await services.search.find(query, limit=2, facets=["in_stock"])
    assert (first.products, first.following is None) == ([], False)
    assert first.facets is not None
    assert first.facets.in_stock is not None
    assert (first.facets.in_stock.checked, first.facets.in_stock.exact) == (3, False)
    second = await services.search.find(query, limit=2, after=first.following)
    assert [each["name"] for each in second.products] == ["D", "F"]
    assert second.following is None
