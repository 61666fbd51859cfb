"""The catalogue over HTTP: types, variants, edits that know what they change, and who sees what."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from domain.products import registry
from domain.products.registry import Attributes, product_type
from domain.settings import Settings
from domain.values import new_id
from ops.stack import Stack
from tests.api import ORDER, Api, User, open_api
from tests.conftest import environment_on

TEN = {"amount": 1000, "currency": "USD"}
COTTON = {"fabric": [{"name": "cotton", "percent": 100}]}


@pytest.fixture(scope="module")
async def api(stack: Stack) -> AsyncIterator[Api]:
    """One API for all tests here: each makes products of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_on(stack).items():
            patch.setenv(name, value)
        settings = Settings()
    async with open_api(settings) as api:
        yield api


@pytest.fixture(scope="module")
def clerk(api: Api) -> User:
    return api.user("catalog:write", "inventory:write")


@pytest.fixture(scope="module")
def customer(api: Api) -> User:
    return api.user()


def unique(prefix: str) -> str:
    return f"{prefix}-{new_id()[-12:]}"


def tee(**more: Any) -> dict[str, Any]:
    """A T-shirt in S and M, with SKUs of its own."""
    name = unique("tee")
    variants = [
        {"sku": f"{name}-{size}", "price": TEN, "options": {"size": size}, "weight_g": 150} for size in "SM"
    ]
    form = {"name": name, "category": "Tops", "type": "clothing", "attributes": COTTON, "options": ["size"]}
    return form | {"variants": variants, "status": "published"} | more


async def made(clerk: User, **more: Any) -> tuple[str, dict[str, Any]]:
    """The product's ETag, and the product."""
    answer = await clerk.post("/v1/products", tee(**more))
    assert answer.status_code == 201, answer.text
    return answer.headers["etag"], answer.json()


async def refused(clerk: User, form: dict[str, Any]) -> tuple[int, str]:
    answer = await clerk.post("/v1/products", form)
    return answer.status_code, answer.json()["code"]


def at(product: dict[str, Any]) -> str:
    return f"/v1/products/{product['id']}"


async def test_a_product_is_made_with_its_variants_and_seen_by_id_slug_and_sku(api: Api, clerk: User):
    form = tee(description="Heavy cotton.", slug=unique("slug"))
    answer = await clerk.post("/v1/products", form)
    product = answer.json()
    assert answer.headers["location"] == at(product)
    assert {name: product[name] for name in ("name", "description", "slug", "options", "status")} == {
        name: form[name] for name in ("name", "description", "slug", "options", "status")
    }
    assert product["attributes"] == COTTON | {"audience": "unisex"}
    assert [variant["sku"] for variant in product["variants"]] == [v["sku"] for v in form["variants"]]
    assert (product["sku"], product["price"]) == (form["variants"][0]["sku"], TEN)
    for ref in (product["id"], form["slug"], form["variants"][1]["sku"]):
        seen = await api.client.get(f"/v1/products/{ref}")
        assert (seen.status_code, seen.json()) == (200, product)
        assert seen.headers["etag"] == answer.headers["etag"]


async def test_the_types_have_schemas_that_the_attributes_keep_to(api: Api):
    types = (await api.client.get("/v1/product-types")).json()["product_types"]
    assert {each["name"] for each in types} == {
        "general", "clothing", "electronics", "furniture", "book", "grocery",
    }  # fmt: skip
    for each in types:
        Draft202012Validator.check_schema(each["attributes"])
        assert (await api.client.get(f"/v1/product-types/{each['name']}")).json() == each
    clothing = next(each for each in types if each["name"] == "clothing")
    Draft202012Validator(clothing["attributes"]).validate(COTTON)
    unknown = await api.client.get("/v1/product-types/boat")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


@pytest.fixture
def candles() -> Iterator[None]:
    """A type that only this test knows, in one class."""

    @product_type("candle")
    class Candle(Attributes):
        burns_h: Annotated[int, Field(strict=True, ge=1, json_schema_extra={"unit": "h"})]

    yield
    del registry._TYPES["candle"]


async def test_a_new_type_is_one_class_and_is_sold(api: Api, clerk: User, customer: User, candles: None):
    schema = (await api.client.get("/v1/product-types/candle")).json()["attributes"]
    assert schema["properties"]["burns_h"]["unit"] == "h"
    sku = unique("CANDLE")
    form = {"sku": sku, "name": "Candle", "price": TEN, "category": "Light", "type": "candle"}
    assert await refused(clerk, form | {"attributes": {"burns_h": 0}}) == (422, "invalid_attributes")
    product = (await clerk.post("/v1/products", form | {"attributes": {"burns_h": 40}})).json()
    assert product["attributes"] == {"burns_h": 40}
    await clerk.post(f"/v1/inventory/{sku}/adjustments", {"quantity": 1, "reason": "delivery"})
    accepted = (await customer.post("/v1/orders", ORDER | {"items": [{"sku": sku, "quantity": 1}]})).json()
    await api.settle(accepted["id"])
    order = (await customer.get(f"/v1/orders/{accepted['id']}")).json()
    assert (order["state"], order["lines"][0]["name"]) == ("reserved", "Candle")


async def test_what_is_no_product_is_refused(clerk: User, subtests: pytest.Subtests):
    variant = tee()["variants"][0]
    cases: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({"type": "boat"}, (422, "unknown_product_type")),
        ({"attributes": {}}, (422, "invalid_attributes")),
        ({"attributes": COTTON | {"wheels": 4}}, (422, "invalid_attributes")),
        ({"variants": []}, (422, "validation_error")),
        ({"sku": "BOTH", "price": TEN}, (422, "validation_error")),
        ({"variants": [variant | {"barcode": "4006381333932"}]}, (422, "validation_error")),
        ({"variants": [variant | {"weight_g": -1}]}, (422, "validation_error")),
        ({"variants": [variant | {"price": {"amount": 1.5}}]}, (422, "validation_error")),
        ({"variants": [variant | {"compare_at_price": TEN}]}, (422, "invalid")),
        ({"variants": [variant | {"options": {}}]}, (422, "invalid")),
        ({"variants": [variant, variant | {"sku": unique("TWIN")}]}, (409, "options_taken")),
        ({"name": "\u0000"}, (422, "validation_error")),
        ({"slug": "Bad Slug"}, (422, "validation_error")),
        ({"status": "archived"}, (422, "validation_error")),
    ]
    for change, expected in cases:
        with subtests.test(change=str(change)[:80]):
            assert await refused(clerk, tee(**change)) == expected


async def test_refused_attributes_are_named(clerk: User):
    answer = await clerk.post("/v1/products", tee(attributes={"fabric": [{"name": "wool", "percent": 0}]}))
    error, *_ = answer.json()["facts"]["errors"]
    assert (error["field"], error["code"]) == ("attributes.fabric.0.percent", "greater_than_equal")


async def test_skus_and_slugs_are_one_products(clerk: User):
    _, product = await made(clerk)
    first = product["variants"][0]["sku"]
    other = tee()
    other["variants"][0]["sku"] = first
    assert await refused(clerk, other) == (409, "sku_taken")
    assert await refused(clerk, tee(slug=product["slug"])) == (409, "slug_taken")
    _, namesake = await made(clerk, name=product["name"])
    assert namesake["slug"] == f"{product['slug']}-{namesake['id'][-6:]}"


async def test_one_sku_sent_many_times_at_once_is_made_once(clerk: User):
    form = tee()
    answers = await asyncio.gather(*(clerk.post("/v1/products", form) for _ in range(5)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 4}


# -- edits -------------------------------------------------------------------------------------------


async def test_an_edit_changes_what_it_says_and_the_tag(clerk: User):
    tag, product = await made(clerk)
    small, medium = (variant["sku"] for variant in product["variants"])
    cheaper = {"amount": 800, "currency": "USD"}
    body = {
        "name": "Renamed",
        "description": "Thin.",
        "attributes": {"fit": "slim"},
        "variants": {small: {"price": cheaper, "compare_at_price": TEN}, medium: {"barcode": "96385074"}},
    }
    answer = await clerk.patch(at(product), body, tag=tag)
    after = answer.json()
    assert answer.status_code == 200, after
    assert (after["name"], after["slug"], after["price"]) == ("Renamed", product["slug"], cheaper)
    assert after["attributes"] == COTTON | {"audience": "unisex", "fit": "slim"}
    assert after["variants"][0]["compare_at_price"] == TEN
    assert after["variants"][1] == product["variants"][1] | {"barcode": "96385074"}
    assert answer.headers["etag"] != tag
    body = {"variants": {small: {"compare_at_price": None}}}
    again = await clerk.patch(at(product), body, tag=answer.headers["etag"])
    assert again.json()["variants"][0]["compare_at_price"] is None


async def test_an_edit_needs_the_tag_of_what_it_changes(clerk: User):
    tag, product = await made(clerk)
    body = {"name": "New"}
    cases = [
        (None, 428, "if_match_missing"),
        ("nonsense", 400, "if_match_invalid"),
        ('"unfinished', 400, "if_match_invalid"),
        ('"another"', 412, "stale_revision"),
        (f"W/{tag}", 412, "stale_revision"),
    ]
    for given, status, code in cases:
        for answer in (
            await clerk.patch(at(product), body, tag=given),
            await clerk.client.delete(
                at(product), headers=clerk.headers() | ({"If-Match": given} if given else {})
            ),
        ):
            assert (answer.status_code, answer.json()["code"]) == (status, code), given
    assert (await clerk.patch(at(product), body, tag=f'"other", {tag}')).status_code == 200
    assert (await clerk.patch(at(product), body, tag=tag)).status_code == 412
    assert (await clerk.patch(at(product), body, tag="*")).status_code == 200


async def test_of_edits_with_one_tag_one_wins(clerk: User):
    tag, product = await made(clerk)
    answers = await asyncio.gather(*(clerk.patch(at(product), {"name": f"N{n}"}, tag=tag) for n in range(5)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 4}
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await clerk.get(at(product))).json() == winner


async def test_what_an_edit_cannot_do_is_refused(clerk: User, subtests: pytest.Subtests):
    tag, product = await made(clerk)
    _, other = await made(clerk)
    small = product["sku"]
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"status": "draft"}, 409, "invalid_transition"),
        ({"slug": other["slug"]}, 409, "slug_taken"),
        ({"variants": {other["sku"]: {"price": TEN, "options": {"size": "L"}}}}, 409, "sku_taken"),
        ({"variants": {unique("L"): {"options": {"size": "L"}}}}, 422, "invalid"),
        ({"variants": {small: {"options": {"size": "M"}}}}, 409, "options_taken"),
        ({"attributes": {"fabric": None}}, 422, "invalid_attributes"),
        ({"type": "boat"}, 422, "unknown_product_type"),
        ({"name": None}, 422, "validation_error"),
        ({"price": TEN}, 422, "validation_error"),
        ({"variants": {"not a sku": {}}}, 422, "validation_error"),
    ]
    for body, status, code in cases:
        with subtests.test(body=str(body)[:80]):
            answer = await clerk.patch(at(product), body, tag=tag)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await clerk.get(at(product))).json() == product
    moved = (await clerk.patch(at(product), {"status": "draft"}, tag=tag)).json()["facts"]
    assert moved == {"state": "published", "wanted": "draft", "allowed": ["archived"]}


async def test_the_history_of_a_price_is_read_page_by_page(api: Api, clerk: User):
    tag, product = await made(clerk)
    sku = product["sku"]
    for amount in (900, 800, 700):
        body = {"variants": {sku: {"price": {"amount": amount, "currency": "USD"}}}}
        tag = (await clerk.patch(at(product), body, tag=tag)).headers["etag"]
    path = f"{at(product)}/variants/{sku}/prices"
    first = (await clerk.get(path, params={"limit": 2})).json()
    assert [each["after"]["amount"] for each in first["changes"]] == [700, 800]
    assert first["changes"][0]["actor"] == clerk.id
    second = (await clerk.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [each["before"]["amount"] for each in second["changes"]] == [1000]
    assert second["next_cursor"] is None
    assert (await clerk.get(f"{at(product)}/variants/NOBODYS/prices")).status_code == 404
    assert (await clerk.get(path, params={"cursor": "x"})).status_code == 422


# -- who sees, and who may ---------------------------------------------------------------------------


async def test_only_clerks_see_what_is_not_published(api: Api, clerk: User, customer: User):
    tag, product = await made(clerk, status="draft")
    path, by_sku = at(product), f"/v1/products/{product['sku']}"

    async def statuses() -> list[int]:
        answers = [
            await api.client.get(path),
            await customer.get(path),
            await api.client.get(by_sku),
            await clerk.get(path),
        ]
        return [answer.status_code for answer in answers]

    assert await statuses() == [404, 404, 404, 200]
    for status, expected in (("published", [200] * 4), ("archived", [404, 404, 404, 200])):
        answer = await clerk.patch(path, {"status": status}, tag=tag)
        tag = answer.headers["etag"]
        assert (answer.json()["status"], await statuses()) == (status, expected)
    listed = (await api.client.get("/v1/products", params={"category": "Tops", "limit": 200})).json()
    assert product["id"] not in {each["id"] for each in listed["products"]}


async def test_variants_that_are_put_aside_are_the_clerks(api: Api, clerk: User):
    tag, product = await made(clerk)
    await clerk.patch(at(product), {"variants": {product["sku"]: {"active": False}}}, tag=tag)
    assert len((await api.client.get(at(product))).json()["variants"]) == 1
    assert len((await clerk.get(at(product))).json()["variants"]) == 2


async def test_a_deleted_product_is_gone_but_for_its_history(api: Api, clerk: User):
    tag, product = await made(clerk)
    headers = clerk.headers() | {"If-Match": tag}
    for _ in range(2):
        assert (await api.client.delete(at(product), headers=headers)).status_code == 204
    assert (await api.client.get(at(product))).status_code == 404
    assert (await clerk.get(at(product))).json()["deleted_at"] is not None
    assert (await clerk.patch(at(product), {"name": "Back"}, tag="*")).status_code == 404
    prices = await clerk.get(f"{at(product)}/variants/{product['sku']}/prices")
    assert (prices.status_code, prices.json()["changes"]) == (200, [])


async def test_customers_and_strangers_change_nothing(api: Api, clerk: User, customer: User):
    tag, product = await made(clerk)
    prices = f"{at(product)}/variants/{product['sku']}/prices"
    for headers, status in ((customer.headers(), 403), ({}, 401)):
        tagged = headers | {"If-Match": tag}
        answers = [
            await api.client.post("/v1/products", json=tee(), headers=headers),
            await api.client.patch(at(product), json={"name": "Mine"}, headers=tagged),
            await api.client.delete(at(product), headers=tagged),
            await api.client.get(prices, headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [status] * 4
    assert (await clerk.get(at(product))).json() == product


async def test_credentials_that_are_no_good_are_said_to_be(api: Api, clerk: User):
    _, product = await made(clerk)
    for headers in ({"Authorization": "Bearer nonsense"}, {"X-API-Key": "nonsense"}):
        assert (await api.client.get(at(product), headers=headers)).status_code == 401


async def test_what_is_unknown_is_not_found(clerk: User, subtests: pytest.Subtests):
    for ref in ("nobodys", new_id(), "%00", "x" * 300, "..%2f"):
        with subtests.test(ref=ref[:40]):
            assert (await clerk.get(f"/v1/products/{ref}")).status_code == 404
            assert (await clerk.patch(f"/v1/products/{ref}", {"name": "N"}, tag="*")).status_code == 404


async def test_edits_of_whatever_is_there_take_turns(clerk: User):
    _, product = await made(clerk)
    path = at(product)
    answers = await asyncio.gather(*(clerk.patch(path, {"name": f"N{n}"}, tag="*") for n in range(40)))
    assert Counter(answer.status_code for answer in answers) == {200: 40}
    tags = {answer.headers["etag"] for answer in answers}
    assert len(tags) == 40
    assert (await clerk.get(path)).headers["etag"] in tags
