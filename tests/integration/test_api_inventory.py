"""Products and stock over HTTP."""

import pytest

from tests.api import Api, User

CHAI = {
    "sku": "CHAI",
    "name": "Chai",
    "price": {"amount": 1800, "currency": "USD"},
    "category": "Beverages",
}
STOCK = "/v1/inventory/CHAI/adjustments"


@pytest.fixture
def clerk(api: Api) -> User:
    return api.user("catalog:write", "inventory:read", "inventory:write")


async def test_a_product_is_created_with_an_empty_stock_and_seen_by_all(api: Api, clerk: User):
    created = await clerk.post("/v1/products", CHAI)
    assert created.status_code == 201
    assert created.json().items() >= CHAI.items()
    assert (await api.client.get("/v1/products/CHAI")).json() == created.json()
    levels = (await clerk.get("/v1/inventory/CHAI")).json()
    assert levels == {
        "sku": "CHAI",
        "available": 0,
        "reserved": 0,
        "levels": [
            {"sku": "CHAI", "location": "main", "available": 0, "reserved": 0, "low_at": 5, "low": True}
        ],
    }
    again = await clerk.post("/v1/products", CHAI)
    assert (again.status_code, again.json()["code"]) == (409, "sku_taken")


async def test_products_come_in_pages_and_by_category(api: Api, clerk: User):
    for sku, category in (("A", "x"), ("B", "y"), ("C", "x"), ("D", "x")):
        await clerk.post("/v1/products", CHAI | {"sku": sku, "category": category})
    first = (await api.client.get("/v1/products", params={"limit": 2, "category": "x"})).json()
    assert [each["sku"] for each in first["products"]] == ["A", "C"]
    more = {"limit": 2, "category": "x", "cursor": first["next_cursor"]}
    second = (await api.client.get("/v1/products", params=more)).json()
    assert [each["sku"] for each in second["products"]] == ["D"]
    assert second["next_cursor"] is None


async def test_a_page_has_bounds(api: Api, subtests: pytest.Subtests):
    cases = ["0", "201", "-1", "1.5", "x"]
    for limit in cases:
        with subtests.test(limit=str(limit)[:80]):
            answer = await api.client.get("/v1/products", params={"limit": limit})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.limit")


async def test_an_adjustment_happens_once_per_key(api: Api, clerk: User):
    await clerk.post("/v1/products", CHAI)
    body = {"quantity": 40, "reason": "delivery"}
    first = await clerk.post(STOCK, body, key="one")
    again = await clerk.post(STOCK, body, key="one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = await clerk.post(STOCK, body | {"quantity": 41}, key="one")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await clerk.get("/v1/inventory/CHAI")).json()["available"] == 40
    movements = (await clerk.get("/v1/inventory/CHAI/movements")).json()["movements"]
    assert [(each["quantity"], each["actor"]) for each in movements] == [(40, clerk.id)]


async def test_an_adjustment_never_takes_what_is_reserved(api: Api, clerk: User):
    await api.shop.stock(CHAI=5)
    await api.shop.reserve(CHAI=3)
    refused = await clerk.post(STOCK, {"quantity": -3, "reason": "shrinkage"})
    assert (refused.status_code, refused.json()["code"]) == (409, "below_reserved")
    assert refused.json()["facts"] == {"sku": "CHAI", "available": 2, "reserved": 3}
    assert (await clerk.post(STOCK, {"quantity": -2, "reason": "shrinkage"})).status_code == 201


async def test_an_adjustment_is_a_whole_number_other_than_zero(
    api: Api, clerk: User, subtests: pytest.Subtests
):
    cases = [0, 1.5, True, "2", 10**6 + 1, -(10**6) - 1, 10**20]
    for quantity in cases:
        with subtests.test(quantity=str(quantity)[:80]):
            answer = await clerk.post(STOCK, {"quantity": quantity, "reason": "x"})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body.quantity")


async def test_an_adjustment_needs_a_key_and_a_known_sku(api: Api, clerk: User):
    body = {"quantity": 1, "reason": "x"}
    keyless = await api.client.post(STOCK, json=body, headers=clerk.headers())
    assert (keyless.status_code, keyless.json()["code"]) == (400, "idempotency_key_missing")
    unknown = await clerk.post("/v1/inventory/NOPE/adjustments", body)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_sku")
    for path in ("/v1/inventory/NOPE", "/v1/inventory/NOPE/movements", "/v1/products/NOPE"):
        assert (await clerk.get(path)).status_code == 404


async def test_customers_neither_see_nor_change_stock(api: Api):
    customer = api.user()
    answers = [
        await customer.get("/v1/inventory/CHAI"),
        await customer.get("/v1/inventory/CHAI/movements"),
        await customer.post(STOCK, {"quantity": 1, "reason": "x"}),
        await customer.post("/v1/products", CHAI),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
