"""Products change as a whole: races have one winner, and orders read what is shown."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.bootstrap import Services, open_services
from domain.changes import Changes, GuardFailed
from domain.errors import NotFound, OptionsTaken, SkuTaken, SlugTaken, StaleRevision
from domain.products.forms import NewProduct, ProductEdit
from domain.products.rules import sku_rows
from domain.settings import Settings
from domain.values import Money, new_id
from ops.stack import Stack
from tests.conftest import environment_on
from tests.factories import Shop, rewired
from tests.fakes import FakeCache
from tests.transactions import LABELS, commit_whose_answer_is_lost, just_before_the_commit

TEN = {"amount": 1000, "currency": "USD"}


@pytest.fixture(scope="module")
async def services(stack: Stack) -> AsyncIterator[Services]:
    """One set for all tests here: each makes products of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_on(stack).items():
            patch.setenv(name, value)
        settings = Settings()
    async with open_services(settings) as services, services.signals.listening():
        yield services


def unique(prefix: str) -> str:
    return f"{prefix}-{new_id()[-12:]}"


def tee(name: str = "", **more: Any) -> NewProduct:
    """A published T-shirt in S and M, with SKUs that begin with its name."""
    name = name or unique("tee")
    variants = [{"sku": f"{name}-{size}", "price": TEN, "options": {"size": size}} for size in "SM"]
    form = {"name": name, "category": "Tops", "options": ["size"], "variants": variants} | more
    return NewProduct.model_validate({"status": "published"} | form)


def edit(**change: Any) -> ProductEdit:
    return ProductEdit.model_validate(change)


async def reprice(services: Services, product: dict[str, Any], amount: int) -> dict[str, Any]:
    sku = product["variants"][0]["sku"]
    form = edit(variants={sku: {"price": TEN | {"amount": amount}}})
    return await services.products.edit(
        product["_id"], form, expected={product["revision"]}, actor=f"clerk-{amount}"
    )


async def place(shop: Shop, sku: str, quantity: int, *, owner: str = "ada") -> dict[str, Any]:
    """An order that a worker has settled."""
    units: Any = {sku: quantity}
    return await shop.place(owner=owner, **units)


async def check_rows(services: Services, product_id: str) -> None:
    """What orders read is what the product says."""
    product = await services.products.get(product_id)
    rows = await services.database["skus"].find({"product_id": product_id}).sort("_id").to_list()
    assert rows == sorted(sku_rows(product), key=lambda row: row["_id"])


async def test_a_product_and_its_skus_are_read_in_one_form(services: Services):
    product = await services.products.add(tee())
    small, medium = (variant["sku"] for variant in product["variants"])
    facts = await services.products.facts([small, medium, "NOBODYS"])
    assert facts[small] == {
        "sku": small, "name": f"{product['name']} (S)", "price": TEN, "product_id": product["_id"],
        "category": "Tops", "type": "general", "weight_g": 0, "sellable": True,
    }  # fmt: skip
    assert set(facts) == {small, medium}
    assert await services.products.facts([]) == {}
    for ref in (product["_id"], product["slug"], small, medium):
        assert (await services.products.get(ref))["_id"] == product["_id"]
    for ref in ("", "nobodys", "x" * 999, "\x00"):
        with pytest.raises(NotFound):
            await services.products.get(ref)


async def test_every_new_variant_has_an_empty_stock(services: Services):
    product = await services.products.add(tee())
    new = unique("L")
    form = edit(variants={new: {"price": TEN, "options": {"size": "L"}}})
    product = await services.products.edit(product["_id"], form, expected=None, actor="clerk")
    for variant in product["variants"]:
        (level,) = await services.inventory.levels(variant["sku"])
        assert (level["available"], level["reserved"]) == (0, 0)
    await check_rows(services, product["_id"])


async def test_one_sku_is_made_once_however_many_try(services: Services):
    sku = unique("SKU")
    form = NewProduct.model_validate({"sku": sku, "name": sku, "price": TEN, "category": "x"})
    made = await asyncio.gather(*(services.products.add(form) for _ in range(8)), return_exceptions=True)
    assert Counter(type(each) for each in made) == {dict: 1, SkuTaken: 7}
    assert await services.database["products"].count_documents({"variants.sku": sku}) == 1


async def test_namesakes_made_at_once_have_a_slug_each(services: Services):
    name = unique("Namesake")
    forms = [
        NewProduct.model_validate({"sku": unique("N"), "name": name, "price": TEN, "category": "x"})
        for _ in range(6)
    ]
    made = await asyncio.gather(*(services.products.add(form) for form in forms))
    slugs = [product["slug"] for product in made]
    assert len(set(slugs)) == 6
    assert name.lower() in slugs
    suffixed = [product for product in made if product["slug"] != name.lower()]
    assert all(product["slug"] == f"{name.lower()}-{product['_id'][-6:]}" for product in suffixed)


async def test_a_slug_that_is_asked_for_is_one_products(services: Services):
    slug = unique("asked")
    made = await asyncio.gather(
        *(services.products.add(tee(slug=slug)) for _ in range(4)), return_exceptions=True
    )
    assert Counter(type(each) for each in made) == {dict: 1, SlugTaken: 3}
    other = await services.products.add(tee())
    with pytest.raises(SlugTaken):
        await services.products.edit(other["_id"], edit(slug=slug), expected=None, actor="clerk")
    assert (await services.products.get(other["_id"]))["slug"] == other["slug"]


async def test_a_slug_that_its_product_gave_up_meanwhile_is_taken_over(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    first, second = await services.products.add(tee()), await services.products.add(tee())
    wanted, taken = first["slug"], services.products._repository.slug_taken

    async def given_up(slug: str, *, but_by: str = "") -> bool:
        monkeypatch.undo()
        await services.products.edit(first["_id"], edit(slug=unique("old")), expected=None, actor="clerk")
        return await taken(slug, but_by=but_by)

    monkeypatch.setattr(services.products._repository, "slug_taken", given_up)
    after = await services.products.edit(second["_id"], edit(slug=wanted), expected=None, actor="clerk")
    assert (after["slug"], (await services.products.get(wanted))["_id"]) == (wanted, second["_id"])


async def test_slugs_that_go_round_leave_every_product_with_one(services: Services):
    made = [await services.products.add(tee()) for _ in range(3)]
    names = [unique("round") for _ in range(3)]

    async def rename(turn: int) -> object:
        form = edit(slug=names[turn * 2 % 3])
        return await services.products.edit(made[turn % 3]["_id"], form, expected=None, actor="clerk")

    done = await asyncio.gather(*(rename(turn) for turn in range(12)), return_exceptions=True)
    assert {type(each) for each in done} <= {dict, SlugTaken}
    slugs = {(await services.products.get(each["_id"]))["slug"] for each in made}
    assert len(slugs) == 3


async def test_a_sku_of_another_product_cannot_be_added(services: Services):
    first, second = await services.products.add(tee()), await services.products.add(tee())
    taken = first["variants"][0]["sku"]
    form = edit(variants={taken: {"price": TEN, "options": {"size": "XL"}}})
    with pytest.raises(SkuTaken):
        await services.products.edit(second["_id"], form, expected=None, actor="clerk")
    await check_rows(services, first["_id"])
    await check_rows(services, second["_id"])


async def test_of_two_edits_of_one_revision_one_wins(services: Services):
    product = await services.products.add(tee())
    prices = range(1, 9)
    done = await asyncio.gather(
        *(reprice(services, product, amount) for amount in prices), return_exceptions=True
    )
    assert Counter(type(each) for each in done) == {dict: 1, StaleRevision: 7}
    (winner,) = [each for each in done if isinstance(each, dict)]
    assert (await services.products.get(product["_id"]))["revision"] == winner["revision"]
    await check_rows(services, product["_id"])


async def test_edits_of_whatever_is_there_all_have_their_effect(services: Services):
    product = await services.products.add(tee())
    sizes = ["L", "XL", "XXL"]
    forms = [edit(variants={unique(size): {"price": TEN, "options": {"size": size}}}) for size in sizes]
    await asyncio.gather(
        *(services.products.edit(product["_id"], form, expected=None, actor="clerk") for form in forms)
    )
    found = await services.products.get(product["_id"])
    assert {variant["options"]["size"] for variant in found["variants"]} == {"S", "M", *sizes}
    await check_rows(services, product["_id"])


async def test_two_edits_cannot_make_one_combination_twice(services: Services):
    product = await services.products.add(tee())
    forms = [edit(variants={unique("L"): {"price": TEN, "options": {"size": "L"}}}) for _ in range(3)]
    done = await asyncio.gather(
        *(services.products.edit(product["_id"], form, expected=None, actor="clerk") for form in forms),
        return_exceptions=True,
    )
    assert Counter(type(each) for each in done) == {dict: 1, OptionsTaken: 2}


async def test_the_history_of_a_price_says_who_when_from_what_to_what(services: Services):
    product = await services.products.add(tee())
    sku = product["variants"][0]["sku"]
    for amount in (900, 1100):
        product = await reprice(services, product, amount)
    await services.products.edit(product["_id"], edit(name="Other"), expected=None, actor="clerk")
    newest, oldest = await services.products.prices(product["_id"], sku, before=None, limit=10)
    assert (oldest["before"]["amount"], oldest["after"]["amount"], oldest["actor"]) == (
        1000,
        900,
        "clerk-900",
    )
    assert (newest["before"]["amount"], newest["after"]["amount"]) == (900, 1100)
    assert newest["at"] == product["updated_at"]
    assert await services.products.prices(product["_id"], sku, before=newest["_id"], limit=10) == [oldest]
    with pytest.raises(NotFound):
        await services.products.prices(product["_id"], "NOBODYS", before=None, limit=10)


@LABELS
async def test_an_edit_whose_commit_went_unanswered_happens_once(services: Services, label: str):
    product = await services.products.add(tee())
    with commit_whose_answer_is_lost(label):
        after = await reprice(services, product, 900)
    assert (await services.products.get(product["_id"]))["revision"] == after["revision"]
    sku = product["variants"][0]["sku"]
    assert len(await services.products.prices(product["_id"], sku, before=None, limit=10)) == 1


async def test_many_products_are_written_together_or_not_at_all(services: Services):
    first, second = await services.products.add(tee()), await services.products.add(tee())
    new = await services.products.add(tee())
    later = [each | {"name": "Later", "revision": new_id()} for each in (first, second)]
    await reprice(services, second, 1)
    with pytest.raises(GuardFailed):
        await services.products.write([(first, later[0]), (second, later[1])], actor="file")
    twin = new | {"_id": new_id(), "revision": new_id(), "slug": unique("twin")}
    with pytest.raises(GuardFailed):
        await services.products.write([(first, later[0]), (None, twin)], actor="file")
    assert (await services.products.get(first["_id"]))["name"] == first["name"]
    await services.products.write([(first, later[0])], actor="file")
    assert (await services.products.get(first["_id"]))["name"] == "Later"
    await check_rows(services, first["_id"])


async def test_a_load_of_many_products_is_one_transaction(services: Services):
    changes, skus = Changes(), [unique("LOAD") for _ in range(20)]
    for sku in skus:
        services.products.create(changes, sku=sku, name="Load", price=Money(amount=1000), category="x")
    await changes.commit(services.database)
    facts = await services.products.facts(skus)
    assert [facts[sku]["sellable"] for sku in skus] == [True] * 20


# -- orders ------------------------------------------------------------------------------------------


async def test_an_order_beside_a_price_change_has_one_of_the_two_prices(services: Services):
    product, shop = await services.products.add(tee()), Shop(services)
    sku = product["variants"][0]["sku"]
    await shop.adjust(sku, 100)

    async def change_prices() -> None:
        found = product
        for amount in (2000, 1000, 2000, 1000):
            found = await reprice(services, found, amount)

    orders, _ = await asyncio.gather(
        asyncio.gather(*(place(shop, sku, 3, owner=f"buyer-{n}") for n in range(12))), change_prices()
    )
    for order in orders:
        (line,) = order["lines"]
        assert (order["state"], line["unit_price"]) in {("reserved", 1000), ("reserved", 2000)}
        assert line["gross"] == 3 * line["unit_price"] == order["gross"]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"status": "archived"}, "not_for_sale"), ({"variants": "aside"}, "not_for_sale"), ({}, None)],
)
async def test_what_is_no_longer_for_sale_cannot_be_ordered(
    services: Services, change: dict[str, Any], code: str | None
):
    product, shop = await services.products.add(tee()), Shop(services)
    sku = product["variants"][0]["sku"]
    await shop.adjust(sku, 1)
    if change.get("variants"):
        change = {"variants": {sku: {"active": False}}}
    await services.products.edit(product["_id"], edit(**change), expected=None, actor="clerk")
    order = await place(shop, sku, 1)
    assert order["state"] == ("rejected" if code else "reserved")
    assert (order["rejection"] or {}).get("code") == code


async def test_a_draft_cannot_be_ordered_and_is_as_good_as_unknown(services: Services):
    product, shop = await services.products.add(tee(status="draft")), Shop(services)
    sku = product["variants"][0]["sku"]
    await shop.adjust(sku, 1)
    assert (await place(shop, sku, 1))["rejection"]["code"] == "unknown_sku"
    await services.products.edit(product["_id"], edit(status="published"), expected=None, actor="clerk")
    assert (await place(shop, sku, 1))["state"] == "reserved"


async def test_a_deleted_product_leaves_orders_and_its_names_as_they_are(services: Services):
    form = tee()
    product, shop = await services.products.add(form), Shop(services)
    sku = product["variants"][0]["sku"]
    await shop.adjust(sku, 2)
    order = await place(shop, sku, 1)
    await services.products.delete(product["_id"], expected={product["revision"]}, actor="clerk")
    await services.products.delete(product["_id"], expected={product["revision"]}, actor="clerk")
    again = await shop.order(order["id"])
    assert (again["state"], again["lines"][0]["name"]) == ("reserved", f"{form.name} (S)")
    assert (await place(shop, sku, 1))["rejection"]["code"] == "not_for_sale"
    with pytest.raises(SkuTaken):
        await services.products.add(form)
    namesake = await services.products.add(tee(name=form.name, variants=tee().variants))
    assert namesake["slug"] != product["slug"]
    with pytest.raises(NotFound):
        await services.products.edit(product["_id"], edit(name="Back"), expected=None, actor="clerk")
    assert (await services.products.get(product["_id"]))["deleted_at"] is not None


# -- the cache ---------------------------------------------------------------------------------------


async def shown_name(services: Services, ref: str) -> str:
    return str((await services.products.shown(ref)).view["name"])


async def test_a_published_product_is_read_once_from_the_store(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    product = await services.products.add(tee())
    first = await services.products.shown(product["slug"])
    monkeypatch.setattr(services.products._repository, "find", None)
    for ref in (product["slug"], product["_id"]):
        assert await services.products.shown(ref) == first


async def test_what_is_not_published_is_not_shown(services: Services):
    product = await services.products.add(tee())
    assert await shown_name(services, product["slug"]) == product["name"]
    for change in ({"status": "archived"}, {"status": "draft"}):
        product = await services.products.edit(product["_id"], edit(**change), expected=None, actor="clerk")
        for ref in (product["slug"], product["_id"], product["variants"][0]["sku"]):
            with pytest.raises(NotFound):
                await services.products.shown(ref)


async def test_an_edit_is_seen_at_once_by_every_process(services: Services):
    other = rewired(services)
    product = await services.products.add(tee())
    for name in ("One", "Two"):
        for reader in (services, other):
            await reader.products.shown(product["slug"])
            await reader.products.shown(product["_id"])
        await services.products.edit(product["_id"], edit(name=name), expected=None, actor="clerk")
        for reader in (services, other):
            assert await shown_name(reader, product["slug"]) == name
            assert await shown_name(reader, product["_id"]) == name
    await other.drain()


async def test_a_slug_that_moved_on_is_shown_no_more(services: Services):
    product = await services.products.add(tee())
    old, new = product["slug"], unique("new")
    await services.products.shown(old)
    await services.products.edit(product["_id"], edit(slug=new), expected=None, actor="clerk")
    with pytest.raises(NotFound):
        await services.products.shown(old)
    assert await shown_name(services, new) == product["name"]


async def test_a_slug_that_is_the_id_of_another_product_hides_nothing(services: Services):
    first = await services.products.add(tee())
    second = await services.products.add(tee(slug=first["_id"]))
    for ref in (second["_id"], second["variants"][0]["sku"], first["_id"]):
        await services.products.shown(ref)
    assert await shown_name(services, first["_id"]) == first["name"]
    assert await shown_name(services, second["_id"]) == second["name"]


async def test_a_reader_that_is_late_keeps_nothing_stale(services: Services):
    product = await services.products.add(tee())
    read = await services.products.get(product["_id"])
    await services.products.edit(product["_id"], edit(name="New"), expected=None, actor="clerk")
    # As a reader that read before the write, and fills the cache after it.
    await services.products._cache.fill(read)
    assert await shown_name(services, product["slug"]) == "New"


async def test_a_reader_between_the_gate_and_the_commit_keeps_nothing_stale(
    services: Services, monkeypatch: pytest.MonkeyPatch
):
    product = await services.products.add(tee())
    between = just_before_the_commit(monkeypatch, lambda: services.products.shown(product["slug"]))
    await services.products.edit(product["_id"], edit(name="New"), expected=None, actor="clerk")
    assert between[0].view["name"] == product["name"]
    assert await shown_name(services, product["slug"]) == "New"


async def test_products_are_shown_and_edited_while_redis_is_away(services: Services):
    cache = FakeCache()
    cache.away = True
    alone = rewired(services, cache=cache)
    product = await alone.products.add(tee())
    assert await shown_name(alone, product["slug"]) == product["name"]
    await alone.products.edit(product["_id"], edit(name="New"), expected=None, actor="clerk")
    assert await shown_name(alone, product["slug"]) == "New"
    await alone.drain()


async def test_an_entry_that_no_write_could_reach_is_gone_after_a_minute(services: Services):
    cache = FakeCache()
    alone = rewired(services, cache=cache)
    product = await alone.products.add(tee())
    await alone.products.shown(product["slug"])
    cache.away = True
    await alone.products.edit(product["_id"], edit(name="New"), expected=None, actor="clerk")
    cache.away = False
    cache.clock += 60
    assert await shown_name(alone, product["slug"]) == "New"
    await alone.drain()
