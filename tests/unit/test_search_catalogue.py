"""The index in the process: the words it finds, the order, the pages and the counts."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.products import search_catalogue
from domain.products.builder import SORTS, ProductQuery, Query
from domain.products.search_catalogue import Catalogue, Entry, entry_of
from domain.products.search_facets import FACETS, Band, Count, Facets, Tally
from domain.products.search_filters import Key, fits, key_of, missed, ranked
from domain.products.search_rules import score, words
from domain.values import Money, new_id

WORDS = ["tea", "teapot", "te", "green", "grün", "Thé", "red", "redwood", "cup"]
NAMES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)


def product(name: str = "Tea", **given: Any) -> dict[str, Any]:
    """A product as stored; `price` and `skus` are those of its variants."""
    prices, skus = given.pop("price", [1000]), given.pop("skus", None)
    options = given.pop("options", {})
    variants = [
        {
            "sku": sku,
            "price": {"amount": amount, "currency": given.get("currency", "USD")},
            "options": options,
            "barcode": None,
            "active": True,
        }
        for sku, amount in zip(skus or [f"{name}-{n}" for n in range(len(prices))], prices, strict=True)
    ]
    given.pop("currency", None)
    return {
        "_id": new_id(),
        "revision": new_id(),
        "name": name,
        "description": None,
        "category": "Drinks",
        "type": "grocery",
        "attributes": {},
        "variants": variants,
        "status": "published",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "deleted_at": None,
        **given,
    }


def catalogue_of(*products: dict[str, Any]) -> Catalogue:
    catalogue = Catalogue()
    for each in products:
        catalogue.put(each)
    return catalogue


def found(catalogue: Catalogue, query: ProductQuery) -> list[tuple[Entry, int]]:
    pool = catalogue.matches(query.words) if query.has_text else catalogue.entries()
    return [(entry, worth) for entry, worth in pool if not missed(query, entry)]


def names(catalogue: Catalogue, query: Query) -> list[str]:
    built = query.build()
    return [entry.name for _, entry in ranked(built.sort, found(catalogue, built), after=None, most=1000)]


# -- words --------------------------------------------------------------------------------------------


@given(st.lists(NAMES, max_size=12), NAMES, st.data())
def test_the_index_finds_what_reading_every_product_would(titles: list[str], text: str, data: st.DataObject):
    products = [product(name, skus=[f"S{number}"]) for number, name in enumerate(titles)]
    catalogue = catalogue_of(*products)
    for each in products:
        change = data.draw(st.sampled_from(["keep", "rename", "drop"]))
        if change == "rename":
            each |= {"name": data.draw(NAMES), "revision": new_id()}
            catalogue.put(each)
        elif change == "drop":
            catalogue.drop(each["_id"])
            each["deleted_at"] = each["created_at"]
    asked = list(dict.fromkeys(words(text)))
    expected = {}
    for each in products:
        entry = entry_of(each)
        if entry and (worth := score(asked, dict(zip(entry.words, entry.weights, strict=True)))):
            expected[each["_id"]] = worth
    assert {entry.product_id: worth for entry, worth in catalogue.matches(asked)} == expected


def test_accents_and_beginnings_find_names_before_descriptions():
    catalogue = catalogue_of(
        product("Kettle", description="For crème and tea"), product("Crème brûlée"), product("Cremeux")
    )
    assert names(catalogue, Query.text("CREME")) == ["creme brulee", "cremeux", "kettle"]
    assert names(catalogue, Query.text("brul cre")) == ["creme brulee"]
    assert names(catalogue, Query.text("crème lemon")) == []
    assert names(catalogue, Query.text("?!*")) == []


def test_skus_barcodes_categories_options_and_attributes_are_searched():
    shirt = product("Shirt", skus=["TEE-M-7"], options={"colour": "Türkis"}, category="Tops")
    shirt |= {"attributes": {"fabric": [{"name": "cotton", "percent": 100}]}}
    shirt["variants"][0]["barcode"] = "4006381333931"
    catalogue = catalogue_of(shirt, product("Other"))
    for text in ("tee-m", "40063", "turkis", "tops", "cotton shirt"):
        assert names(catalogue, Query.text(text)) == ["shirt"], text


def test_a_variant_that_is_put_aside_is_not_found():
    shirt = product("Shirt", skus=["A-1", "B-2"], price=[1000, 5000])
    shirt["variants"][1]["active"] = False
    catalogue = catalogue_of(shirt)
    assert names(catalogue, Query.text("b-2")) == []
    assert names(catalogue, Query.all().price(Money(amount=5000))) == []
    assert names(catalogue, Query.text("a-1")) == ["shirt"]


def test_a_deleted_product_is_not_indexed_and_a_draft_without_variants_for_sale_is():
    draft = product("Draft", status="draft")
    draft["variants"][0]["active"] = False
    gone = product("Gone", deleted_at=datetime(2026, 1, 2, tzinfo=UTC))
    assert [entry.name for entry, _ in catalogue_of(draft, gone).entries()] == ["draft"]


def test_what_was_changed_often_is_cleaned_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search_catalogue, "_FEW", 10)
    catalogue, tea = Catalogue(), product("Tea 0")
    catalogue.put(product("Cup"))
    for number in range(100):
        catalogue.put(tea | {"name": f"Tea {number}", "revision": new_id()})
    assert len(catalogue) == 2
    assert len(catalogue._entries) < 20
    assert names(catalogue, Query.text("tea 99")) == ["tea 99"]
    assert names(catalogue, Query.text("tea 98")) == []


def test_values_and_names_that_nothing_has_any_more_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search_catalogue, "_FEW", 10)
    catalogue, tea = Catalogue(), product("Tea")
    for number in range(100):
        catalogue.put(tea | {"attributes": {f"grade{number}": str(number)}, "revision": new_id()})
    assert len(catalogue._labels) < 20
    assert not catalogue.knows("grade0", public=False)
    assert catalogue.knows("grade99", public=True)


def test_an_option_of_a_draft_is_known_to_those_who_see_drafts():
    draft = product("Draft", status="draft") | {"attributes": {"secret": "x"}}
    catalogue = catalogue_of(draft)
    assert catalogue.knows("secret", public=False)
    assert not catalogue.knows("secret", public=True)
    catalogue.put(draft | {"status": "published", "revision": new_id()})
    assert catalogue.knows("secret", public=True)


def test_the_rarest_word_is_looked_up_first():
    catalogue = catalogue_of(*(product(f"Tea {n}") for n in range(9)), product("Tea green"))
    assert catalogue.plan(["tea", "green"]) == [("green", 1, 1), ("tea", 1, 10)]


# -- order and pages ----------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    st.sampled_from(SORTS),
    st.lists(st.tuples(NAMES, st.integers(0, 5), st.sampled_from(["USD", "EUR"])), max_size=15),
    st.integers(1, 4),
)
def test_pages_tell_everything_once_in_order(sort: str, made: list[tuple[str, int, str]], size: int):
    catalogue = catalogue_of(
        *(
            product(name, price=[100 * amount], currency=currency, skus=[f"S{amount}"])
            for name, amount, currency in made
        )
    )
    pool = [*catalogue.entries()] if sort != "relevance" else [*catalogue.matches(["te"])]
    whole = ranked(sort, pool, after=None, most=1000)
    assert len(whole) == len(pool)
    after: Key | None = None
    paged = []
    while page := ranked(sort, pool, after=after, most=size):
        paged += page
        after = page[-1][0]
        assert fits(sort, after)
    assert paged == whole


@given(st.sampled_from(SORTS), st.lists(NAMES, min_size=2, max_size=8), st.lists(NAMES, max_size=4))
def test_products_that_come_in_between_neither_repeat_nor_hide_others(
    sort: str, titles: list[str], later: list[str]
):
    before = [product(f"te {name}") for name in titles]
    catalogue = catalogue_of(*before)

    def page(after: Key | None, most: int) -> list[tuple[Key, Entry]]:
        return ranked(sort, catalogue.matches(["te"]), after=after, most=most)

    first = page(None, 2)
    for name in later:
        catalogue.put(product(f"te {name}"))
    rest = page(first[-1][0], 1000)
    seen = [entry.product_id for _, entry in first + rest]
    assert len(set(seen)) == len(seen)
    assert {each["_id"] for each in before} <= set(seen)


def test_sorts_are_what_they_say():
    cheap = product("Beta", price=[500, 9000], skus=["C", "D"])
    dear = product("alpha", price=[700], skus=["B"], created_at=datetime(2026, 2, 1, tzinfo=UTC))
    catalogue = catalogue_of(cheap, dear)
    orders = {
        "sku": ["alpha", "beta"], "-sku": ["beta", "alpha"],
        "name": ["alpha", "beta"], "-name": ["beta", "alpha"],
        "price": ["beta", "alpha"], "-price": ["alpha", "beta"],
        "newest": ["alpha", "beta"],
    }  # fmt: skip
    for sort, expected in orders.items():
        assert names(catalogue, Query.all().sort(sort)) == expected, sort


@pytest.mark.parametrize("sort", SORTS)
def test_a_key_of_another_form_does_not_fit(sort: str):
    entry = entry_of(product())
    assert entry is not None
    key = key_of(sort, entry, 3)
    assert fits(sort, key)
    wrong: list[tuple[int | str, ...]] = [(), key[:-1], (*key, "x"), (*key[:-1], 1)]
    assert not any(fits(sort, each) for each in wrong)


# -- filters and counts -------------------------------------------------------------------------------


@pytest.fixture
def shop() -> Catalogue:
    return catalogue_of(
        product("Tea", price=[400, 1200], options={"size": "M"}, attributes={"organic": True}),
        product("Green tea", price=[2400], options={"size": "L"}, attributes={"organic": False}),
        product("Mug", price=[900], type="furniture", category="Kitchen", options={"size": "m"}),
        product("Thé", price=[900], currency="EUR", attributes={"organic": True}),
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query.all().type("grocery"), ["green tea", "tea", "the"]),
        (Query.all().type("grocery", "furniture").category("Kitchen"), ["mug"]),
        (Query.all().category("kitchen"), []),
        (Query.all().where(size="m"), ["mug", "tea"]),
        (Query.all().where(size="M").where(size="L"), ["green tea", "mug", "tea"]),
        (Query.all().where(size="m", organic="TRUE"), ["tea"]),
        (Query.all().price(Money(amount=900), Money(amount=1200)), ["mug", "tea"]),
        (Query.all().price(Money(amount=500), Money(amount=800)), []),
        (Query.all().price(highest=Money(amount=900, currency="EUR")), ["the"]),
    ],
)
def test_filters_hold_together_and_their_values_are_alternatives(
    shop: Catalogue, query: Query, expected: list[str]
):
    assert names(shop, query.sort("name")) == expected


def count(catalogue: Catalogue, query: Query, *facets: str) -> Facets:
    built, tally = query.build(), Tally(facets)
    for entry, _ in catalogue.matches(built.words) if built.has_text else catalogue.entries():
        tally.add(entry, missed(built, entry))
    return tally.facets(catalogue.label, None)


def test_a_facet_counts_without_its_own_filter(shop: Catalogue):
    facets = count(shop, Query.all().type("furniture").where(size="M"), "type", "category", "attribute")
    assert facets.types == [Count("furniture", 1), Count("grocery", 1)]
    assert facets.categories == [Count("Kitchen", 1)]
    assert facets.attributes == {"size": [Count("M", 1)]}
    assert facets.prices is None


def test_attribute_counts_keep_the_first_spelling(shop: Catalogue):
    facets = count(shop, Query.all().where(size="L"), "attribute")
    assert facets.attributes is not None
    assert facets.attributes["size"] == [Count("M", 2), Count("L", 1)]
    assert facets.attributes["organic"] == [Count("false", 1)]


def test_a_product_counts_once_in_each_band_that_it_has_a_price_in(shop: Catalogue):
    facets = count(shop, Query.all(), "price")
    assert facets.prices == [
        Band("EUR", 0, 1000, 1), Band("USD", 0, 1000, 2), Band("USD", 1000, 2500, 2),
    ]  # fmt: skip


@given(st.lists(st.tuples(NAMES, st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"])), max_size=10))
def test_a_count_is_what_its_filter_would_find(made: list[tuple[str, str, str]]):
    catalogue = catalogue_of(
        *(product(name, category=category, attributes={"k": value}) for name, category, value in made)
    )
    query = Query.text("te").category("a").where(k="x")
    facets = count(catalogue, query, *FACETS)
    for each in facets.categories or ():
        other = Query.text("te").category(each.value).where(k="x").build()
        assert len(found(catalogue, other)) == each.count
    for each in (facets.attributes or {}).get("k", ()):
        other = Query.text("te").category("a").where(k=each.value).build()
        assert len(found(catalogue, other)) == each.count
