"""Products as they are found over HTTP."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from domain.settings import Settings
from domain.values import new_id
from ops.stack import Stack
from tests.api import Api, User, open_api
from tests.conftest import environment_on

PATH = "/v1/products"


def shirt(sku: str, colour: str, *, price: int = 1500, **more: Any) -> dict[str, Any]:
    variants = [
        {"sku": f"{sku}-{size}", "price": {"amount": amount}, "options": {"size": size, "colour": colour}}
        for size, amount in (("M", price), ("L", price + 500))
    ]
    attributes = {"fabric": [{"name": "cotton", "percent": 100}]}
    return {
        "name": f"Shirt {sku}", "category": "Tops", "type": "clothing", "attributes": attributes,
        "options": ["size", "colour"], "variants": variants, "status": "published",
    } | more  # fmt: skip


def simple(sku: str, name: str, category: str = "Desserts", price: int = 1000) -> dict[str, Any]:
    return {"sku": sku, "name": name, "category": category, "price": {"amount": price}}


SHOP = [
    simple("C-1", "Crème brûlée", price=900),
    simple("C-2", "Cremeux mix", price=2400),
    simple("C-3", "Torch") | {"description": "For a crème as it should be"},
    shirt("TEE", "Rouge"),
    shirt("POLO", "navy", price=4000),
    shirt("HIDDEN", "rouge", status="draft"),
]


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Api]:
    """One shop for all tests of this file; each that adds to it does so in a category of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_on(stack).items():
            patch.setenv(name, value)
        async with open_api(Settings()) as api:
            clerk = api.user("catalog:write")
            for each in SHOP:
                assert (await clerk.post(PATH, each)).status_code == 201, each
            yield api


@pytest.fixture(scope="module")
def clerk(api: Api) -> User:
    return api.user("catalog:write", "inventory:write", "inventory:read")


async def ask(api: Api, **params: Any) -> dict[str, Any]:
    answer = await api.client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def skus(page: dict[str, Any]) -> list[str]:
    return [each["sku"] for each in page["products"]]


# -- what is found ------------------------------------------------------------------------------------


async def test_words_are_found_without_accents_by_their_beginnings_best_first(api: Api):
    assert skus(await ask(api, q="creme")) == ["C-1", "C-2", "C-3"]
    assert skus(await ask(api, q="BRÛL crè")) == ["C-1"]
    assert skus(await ask(api, q="cotton rouge")) == ["TEE-M"]
    assert skus(await ask(api, q="polo-l")) == ["POLO-M"]


async def test_a_found_product_is_shown_as_it_is_by_itself(api: Api):
    (product,) = (await ask(api, q="polo"))["products"]
    assert product == (await api.client.get(f"{PATH}/{product['id']}")).json()


async def test_filters_and_orders(api: Api):
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"type": "clothing"}, ["POLO-M", "TEE-M"]),
        ({"type": "clothing", "sort": "price"}, ["TEE-M", "POLO-M"]),
        ({"category": "Desserts", "sort": "-price"}, ["C-2", "C-3", "C-1"]),
        ({"category": ["Desserts", "Tops"], "min_price": 1500, "max_price": 2400}, ["C-2", "TEE-M"]),
        ({"max_price": 900}, ["C-1"]),
        ({"max_price": 900, "currency": "EUR"}, []),
        ({"attribute": ["colour:ROUGE"]}, ["TEE-M"]),
        ({"attribute": ["colour:rouge", "colour:navy", "size:m"]}, ["POLO-M", "TEE-M"]),
        ({"attribute": ["fabric.name:cotton"], "q": "shirt", "sort": "-name"}, ["TEE-M", "POLO-M"]),
        ({"attribute": "wash_c:30"}, []),
    ]
    for params, expected in cases:
        page = await ask(api, **params)
        assert skus(page) == expected, params
        assert page["total"] == len(expected)
        assert page["facets"] is None


async def test_facets_count_what_each_filter_would_find(api: Api):
    params = {"q": "shirt", "attribute": "colour:navy", "facet": ["type", "category", "price", "attribute"]}
    facets = (await ask(api, **params))["facets"]
    assert facets == {
        "types": [{"value": "clothing", "count": 1}],
        "categories": [{"value": "Tops", "count": 1}],
        "prices": [{"currency": "USD", "at_least": 2500, "below": 5000, "count": 1}],
        "attributes": {
            "size": [{"value": "L", "count": 1}, {"value": "M", "count": 1}],
            "colour": [{"value": "Rouge", "count": 1}, {"value": "navy", "count": 1}],
            "audience": [{"value": "unisex", "count": 1}],
            "fabric.name": [{"value": "cotton", "count": 1}],
            "fabric.percent": [{"value": "100", "count": 1}],
        },
        "in_stock": None,
    }


async def test_what_was_written_is_found_at_once_and_what_was_taken_away_is_not(api: Api, clerk: User):
    made = (await clerk.post(PATH, simple("Z-1", "Zebrafish", category="Zoo"))).json()
    assert skus(await ask(api, q="zebra")) == ["Z-1"]
    await _patch(clerk, made["id"], {"name": "Okapi"})
    assert skus(await ask(api, q="zebra")) == []
    assert skus(await ask(api, q="okapi")) == ["Z-1"]
    await _patch(clerk, made["id"], {"status": "archived"})
    assert skus(await ask(api, q="okapi")) == []
    await _patch(clerk, made["id"], {"status": "published"})
    assert skus(await ask(api, category="Zoo")) == ["Z-1"]
    headers = clerk.headers() | {"If-Match": "*"}
    assert (await api.client.delete(f"{PATH}/{made['id']}", headers=headers)).status_code == 204
    assert skus(await ask(api, category="Zoo")) == []


async def _patch(clerk: User, product_id: str, edit: dict[str, Any]) -> None:
    headers = clerk.headers() | {"If-Match": "*"}
    answer = await clerk.client.patch(f"{PATH}/{product_id}", json=edit, headers=headers)
    assert answer.status_code == 200, answer.text


# -- stock --------------------------------------------------------------------------------------------


async def test_in_stock_is_as_of_now(api: Api, clerk: User):
    for number in range(4):
        await clerk.post(PATH, simple(f"W-{number}", f"Wine {number}", category="Cellar"))
    await clerk.post(PATH, shirt("CELLAR", "wine", category="Cellar"))
    params: dict[str, Any] = {"category": "Cellar", "in_stock": True, "facet": "in_stock"}
    assert skus(await ask(api, **params)) == []
    for sku in ("W-1", "W-3", "CELLAR-L"):
        await _adjust(clerk, sku, 1)
    page = await ask(api, **params)
    assert skus(page) == ["CELLAR-M", "W-1", "W-3"]
    assert page["facets"]["in_stock"] == {"count": 3, "checked": 5, "exact": True}
    assert page["total"] is None
    await _adjust(clerk, "W-1", -1)
    assert skus(await ask(api, **params)) == ["CELLAR-M", "W-3"]
    first = await ask(api, **params, limit=1)
    second = await ask(api, **params, limit=1, cursor=first["next_cursor"])
    assert (skus(first), skus(second), second["next_cursor"]) == (["CELLAR-M"], ["W-3"], None)


async def _adjust(clerk: User, sku: str, units: int) -> None:
    answer = await clerk.post(f"/v1/inventory/{sku}/adjustments", {"quantity": units, "reason": "test"})
    assert answer.status_code == 201, answer.text


# -- pages --------------------------------------------------------------------------------------------


async def test_pages_follow_each_other_while_products_come_and_go(api: Api, clerk: User):
    for number in range(6):
        await clerk.post(PATH, simple(f"P-{number}", f"Pear {number % 2}", category="Pears"))
    for sort in ("relevance", "-price"):
        params: dict[str, Any] = {"q": "pear", "category": "Pears", "sort": sort, "limit": 2}
        seen, cursor = [], None
        while True:
            page = await ask(api, **params, **({"cursor": cursor} if cursor else {}))
            seen += skus(page)
            cursor = page["next_cursor"]
            if cursor is None:
                break
            await clerk.post(PATH, simple(new_id(), f"Pear {sort}", category="Pears", price=1))
        assert len(set(seen)) == len(seen)
        assert {f"P-{number}" for number in range(6)} <= set(seen), sort


async def test_a_cursor_that_was_not_given_for_this_question_is_refused(api: Api):
    given = (await ask(api, category="Desserts", limit=1))["next_cursor"]
    fingerprint, _ = json.loads(base64.urlsafe_b64decode(given + "=="))
    keys: list[Any] = [[], [1], ["a"], ["a", 1], [[]], None]
    forged = [json.dumps([fingerprint, key], separators=(",", ":")) for key in keys]
    cursors = [*(base64.urlsafe_b64encode(each.encode()).decode().rstrip("=") for each in forged)]
    for cursor in (*cursors, "C-1", "!", "\x00", "x" * 2000, given + "A"):
        await _refused(api, 422, "invalid_cursor", category="Desserts", limit=1, cursor=cursor)
    await _refused(api, 422, "invalid_cursor", category="Tops", limit=1, cursor=given)
    await _refused(api, 422, "invalid_cursor", category="Desserts", sort="name", cursor=given)
    assert skus(await ask(api, category="Desserts", limit=2, cursor=given)) == ["C-2", "C-3"]


# -- wrong input, wrong person ------------------------------------------------------------------------


async def _refused(api: Api, status: int, code: str, **params: Any) -> dict[str, Any]:
    answer = await api.client.get(PATH, params=params)
    assert (answer.status_code, answer.json()["code"]) == (status, code), (params, answer.text)
    body: dict[str, Any] = answer.json()
    return body


async def test_a_question_about_unknown_attributes_builds_no_schema(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    def slow(name: str) -> dict[str, Any]:
        pytest.fail(f"the schema of {name} was built: milliseconds, for anybody who asks")

    monkeypatch.setattr("domain.products.registry.schema", slow)
    await _refused(api, 422, "invalid_query", attribute=[f"warp{n}:9" for n in range(10)])


@pytest.mark.parametrize("q", [".*", "^$", "(+)+$", "[", "\\", "$where", '{"$gt": ""}', "%", "*", "🍫"])
async def test_signs_that_mean_something_elsewhere_mean_nothing_here(api: Api, q: str):
    assert skus(await ask(api, q=q)) == []


@pytest.mark.parametrize(
    ("params", "code", "told"),
    [
        ({"q": ""}, "validation_error", "query.q"),
        ({"q": "  "}, "validation_error", "query.q"),
        ({"q": "a\x00b"}, "validation_error", "query.q"),
        ({"q": "x" * 201}, "validation_error", "query.q"),
        ({"q": " ".join(f"w{n}" for n in range(50))}, "invalid_query", "too_many_words"),
        ({"type": "spaceship"}, "invalid_query", "unknown_type"),
        ({"attribute": "warp:9"}, "invalid_query", "unknown_attribute"),
        ({"attribute": "size"}, "validation_error", "query.attribute"),
        ({"attribute": ":M"}, "validation_error", "query.attribute"),
        ({"attribute": "size:\x00"}, "validation_error", "query.attribute.0"),
        ({"attribute": [f"a{n}:x" for n in range(11)]}, "invalid_query", "too_many_attributes"),
        ({"min_price": 2, "max_price": 1}, "invalid_query", "price_order"),
        ({"min_price": -1}, "validation_error", "query.min_price"),
        ({"max_price": "1_0"}, "validation_error", "query.max_price"),
        ({"max_price": 10**13}, "validation_error", "query.max_price"),
        ({"max_price": 1, "currency": "usd"}, "validation_error", "query.currency"),
        ({"category": [f"c{n}" for n in range(21)]}, "validation_error", "query.category"),
        ({"sort": "weight"}, "validation_error", "query.sort"),
        ({"sort": "relevance"}, "invalid_query", "relevance_without_text"),
        ({"facet": "colour"}, "validation_error", "query.facet.0"),
        ({"in_stock": "perhaps"}, "validation_error", "query.in_stock"),
        ({"limit": 0}, "validation_error", "query.limit"),
        ({"limit": 201}, "validation_error", "query.limit"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    api: Api, params: dict[str, Any], code: str, told: str
):
    body = await _refused(api, 422, code, **params)
    if code == "invalid_query":
        assert [each["rule"] for each in body["facts"]["errors"]] == [told]
    else:
        assert told in {each["field"] for each in body["errors"]}


async def test_drafts_are_shown_to_those_who_edit_the_catalogue_only(api: Api, clerk: User):
    drafts = {"status": "draft", "category": "Tops"}
    assert (await _get(clerk, drafts)).json()["products"][0]["sku"] == "HIDDEN-M"
    both = await _get(clerk, {"status": ["draft", "published"], "category": "Tops"})
    assert skus(both.json()) == ["HIDDEN-M", "POLO-M", "TEE-M"]
    assert skus((await _get(clerk, {"category": "Tops"})).json()) == ["POLO-M", "TEE-M"]
    for text in ("hidden", "shirt"):
        assert "HIDDEN-M" not in skus(await ask(api, q=text))
    facets = (await ask(api, category="Tops", facet=["attribute"]))["facets"]["attributes"]
    assert facets["colour"] == [{"value": "Rouge", "count": 1}, {"value": "navy", "count": 1}]
    assert (await api.client.get(PATH, params=drafts)).status_code == 401
    refused = await _get(api.user(), drafts)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await _get(clerk, {"status": "secret"})).status_code == 422


async def test_an_option_that_only_drafts_have_is_unknown_to_everybody_else(api: Api, clerk: User):
    variants = [{"sku": "SOON-1", "price": {"amount": 1}, "options": {"vintage": "1999"}}]
    draft = {"name": "Soon", "category": "Soon", "options": ["vintage"], "variants": variants}
    assert (await clerk.post(PATH, draft)).status_code == 201
    asked = {"attribute": "vintage:1999"}
    assert (await api.client.get(PATH, params=asked)).json()["code"] == "invalid_query"
    assert skus((await _get(clerk, asked | {"status": "draft"})).json()) == ["SOON-1"]


async def test_a_currency_alone_keeps_what_has_a_price_in_it(api: Api, clerk: User):
    euro = simple("EURO-1", "Euro cup", category="Euros") | {"price": {"amount": 900, "currency": "EUR"}}
    assert (await clerk.post(PATH, euro)).status_code == 201
    assert skus(await ask(api, currency="EUR", category="Euros")) == ["EURO-1"]
    assert skus(await ask(api, currency="USD", category="Euros")) == []


async def _get(user: User, params: dict[str, Any]) -> httpx.Response:
    return await user.get(PATH, params=params)


async def test_many_write_and_search_at_once_and_nothing_is_lost(api: Api, clerk: User):
    async def make(number: int) -> None:
        created = await clerk.post(PATH, simple(f"M-{number}", f"Moth {number}", category="Moths"))
        assert created.status_code == 201, created.text
        assert f"M-{number}" in skus(await ask(api, q=f"moth {number}"))

    await asyncio.gather(*(make(number) for number in range(12)))
    assert (await ask(api, q="moth"))["total"] == 12
