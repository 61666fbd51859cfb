"""Locations, movements, thresholds and the audit over HTTP: right input, wrong input, wrong person."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.cursors import encode
from domain.settings import Settings
from domain.values import new_id
from tests.api import Api, User, open_api

LEITH = {"code": "leith", "name": "Leith", "priority": 5, "active": True}
STOCK = "/v1/inventory/CHAI"
#: Every request that changes something, with a body that would do.
WRITES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", f"{STOCK}/receipts", {"quantity": 1, "reason": "x"}),
    ("POST", f"{STOCK}/counts", {"counted": 1, "reason": "x"}),
    ("POST", f"{STOCK}/damages", {"quantity": 1, "reason": "x"}),
    ("POST", f"{STOCK}/returns", {"quantity": 1, "reason": "x"}),
    ("POST", f"{STOCK}/transfers", {"quantity": 1, "from": "main", "to": "leith", "reason": "x"}),
    ("PUT", f"{STOCK}/threshold", {"low_at": 1}),
    ("POST", "/v1/locations", LEITH),
    ("PATCH", "/v1/locations/main", {"priority": 1}),
    ("DELETE", "/v1/locations/leith", None),
]


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        await api.shop.stock(CHAI=10)
        yield api


@pytest.fixture
def clerk(api: Api) -> User:
    return api.user("inventory:read", "inventory:write")


async def call(user: User, method: str, path: str, body: Any = None, **headers: str) -> Any:
    sent = user.headers() | {"Idempotency-Key": new_id(), "If-Match": "*"} | headers
    return await user.client.request(method, path, json=body, headers=sent)


async def test_a_location_is_made_seen_edited_and_deleted(api: Api, clerk: User):
    made = await clerk.post("/v1/locations", LEITH)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/locations/leith")
    assert (await clerk.post("/v1/locations", LEITH)).status_code == 200
    taken = await clerk.post("/v1/locations", LEITH | {"name": "Other"})
    assert (taken.status_code, taken.json()["code"]) == (409, "location_taken")
    seen = await clerk.get("/v1/locations/leith")
    assert seen.json() == made.json()
    assert seen.json().items() >= LEITH.items()
    edit = {"priority": 300, "active": False}
    edited = await call(clerk, "PATCH", "/v1/locations/leith", edit, **{"If-Match": seen.headers["etag"]})
    assert edited.json().items() >= edit.items()
    stale = await call(clerk, "PATCH", "/v1/locations/leith", edit, **{"If-Match": seen.headers["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_revision")
    listed = (await clerk.get("/v1/locations")).json()["locations"]
    assert [each["code"] for each in listed] == ["main", "leith"]
    assert (await clerk.delete("/v1/locations/leith")).status_code == 204
    gone = [await clerk.get("/v1/locations/leith"), await clerk.delete("/v1/locations/leith")]
    assert [answer.status_code for answer in gone] == [404, 404]
    main = await clerk.delete("/v1/locations/main")
    assert (main.status_code, main.json()["code"]) == (409, "location_in_use")


async def test_wrong_input_is_refused_field_by_field(api: Api, clerk: User, subtests: pytest.Subtests):
    at = {"reason": "x"}
    cases: list[tuple[str, str, dict[str, Any], str]] = [
        ("POST", "/v1/locations", LEITH | {"code": "Leith"}, "body.code"),
        ("POST", "/v1/locations", LEITH | {"code": "a:b"}, "body.code"),
        ("POST", "/v1/locations", LEITH | {"code": ""}, "body.code"),
        ("POST", "/v1/locations", LEITH | {"name": "  "}, "body.name"),
        ("POST", "/v1/locations", LEITH | {"name": "a\0b"}, "body.name"),
        ("POST", "/v1/locations", LEITH | {"name": "x" * 101}, "body.name"),
        ("POST", "/v1/locations", LEITH | {"priority": -1}, "body.priority"),
        ("POST", "/v1/locations", LEITH | {"priority": "1"}, "body.priority"),
        ("POST", "/v1/locations", LEITH | {"active": "yes"}, "body.active"),
        ("POST", "/v1/locations", LEITH | {"colour": "red"}, "body.colour"),
        ("PATCH", "/v1/locations/main", {}, "body"),
        ("PATCH", "/v1/locations/main", {"code": "other"}, "body.code"),
        ("POST", f"{STOCK}/receipts", at | {"quantity": 0}, "body.quantity"),
        ("POST", f"{STOCK}/receipts", at | {"quantity": -1}, "body.quantity"),
        ("POST", f"{STOCK}/receipts", at | {"quantity": 1.5}, "body.quantity"),
        ("POST", f"{STOCK}/receipts", {"quantity": 1}, "body.reason"),
        ("POST", f"{STOCK}/receipts", {"quantity": 1, "reason": " "}, "body.reason"),
        ("POST", f"{STOCK}/receipts", at | {"quantity": 1, "location": "Not One"}, "body.location"),
        ("POST", f"{STOCK}/counts", at | {"counted": -1}, "body.counted"),
        ("POST", f"{STOCK}/counts", at | {"counted": True}, "body.counted"),
        ("POST", f"{STOCK}/returns", at | {"quantity": 1, "order_id": "x"}, "body.order_id"),
        ("POST", f"{STOCK}/transfers", at | {"quantity": 1, "from": "main"}, "body.to"),
        ("POST", f"{STOCK}/transfers", at | {"quantity": 1, "to": "main", "source": "main"}, "body.from"),
        ("PUT", f"{STOCK}/threshold", {}, "body.low_at"),
        ("PUT", f"{STOCK}/threshold", {"low_at": -1}, "body.low_at"),
        ("POST", "/v1/ops/audit/repairs", {"sku": "CHAI"}, "body.reason"),
        ("POST", "/v1/ops/audit/repairs", at | {"sku": "a b"}, "body.sku"),
    ]
    writer = api.user("inventory:write", "ops:write")
    for method, path, body, field in cases:
        with subtests.test(path=path, body=str(body)[:80]):
            answer = await call(writer, method, path, body)
            assert answer.status_code == 422, answer.text
            assert field in {each["field"] for each in answer.json()["errors"]}
    assert (await clerk.get(STOCK)).json()["available"] == 10


async def test_what_is_well_formed_and_cannot_be_done_is_refused_with_its_code(api: Api, clerk: User):
    await clerk.post("/v1/locations", LEITH)
    await api.shop.reserve(CHAI=4)
    at = {"reason": "x"}
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        ("receipts", {"quantity": 1, "location": "atlantis"}, 422, "unknown_location"),
        ("damages", {"quantity": 7}, 409, "below_reserved"),
        ("damages", {"quantity": 1, "location": "leith"}, 409, "below_reserved"),
        ("counts", {"counted": 3}, 409, "below_reserved"),
        ("transfers", {"quantity": 7, "from": "main", "to": "leith"}, 409, "below_reserved"),
        ("transfers", {"quantity": 1, "from": "main", "to": "main"}, 422, "invalid"),
        ("transfers", {"quantity": 1, "from": "main", "to": "atlantis"}, 422, "unknown_location"),
    ]
    for path, body, status, code in cases:
        answer = await clerk.post(f"{STOCK}/{path}", at | body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, body)
    unknown = await clerk.post("/v1/inventory/NOPE/receipts", at | {"quantity": 1})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_sku")
    for path in ("/v1/inventory/NOPE/threshold", f"{STOCK}/threshold"):
        answer = await call(clerk, "PUT", path, {"low_at": 1, "location": "atlantis"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    await clerk.post(f"{STOCK}/transfers", at | {"quantity": 1, "from": "main", "to": "leith"})
    kept = await clerk.delete("/v1/locations/leith")
    assert (kept.status_code, kept.json()["code"]) == (409, "location_in_use")


async def test_a_movement_happens_once_per_key(clerk: User):
    for _, path, body in WRITES[:4]:
        first = await clerk.post(path, body, key="one")
        again = await clerk.post(path, body, key="one")
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.content == again.content
        assert again.headers["idempotent-replayed"] == "true"
        other = await clerk.post(path, {**(body or {}), "reason": "another"}, key="one")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        keyless = await clerk.client.post(path, json=body, headers=clerk.headers())
        assert (keyless.status_code, keyless.json()["code"]) == (400, "idempotency_key_missing")


async def test_movements_are_listed_in_pages_of_one_location_or_of_all(clerk: User):
    await clerk.post("/v1/locations", LEITH)
    for _ in range(2):
        await clerk.post(f"{STOCK}/transfers", {"quantity": 1, "from": "main", "to": "leith", "reason": "x"})
    found, cursor = [], None
    while True:
        more: dict[str, str] = {"cursor": cursor} if cursor else {}
        page = (await clerk.get(f"{STOCK}/movements", params={"limit": 2, **more})).json()
        found += page["movements"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert [each["quantity"] for each in found if each["location"] == "leith"] == [1, 1]
    assert len(found) == 5
    here = (await clerk.get(f"{STOCK}/movements", params={"location": "leith"})).json()["movements"]
    assert [each["other_location"] for each in here] == ["main", "main"]
    odd = await clerk.get(f"{STOCK}/movements", params={"location": "a:b"})
    assert odd.json()["errors"][0]["field"] == "query.location"
    foreign = await clerk.get(f"{STOCK}/movements", params={"cursor": encode("CHAI")})
    assert (foreign.status_code, foreign.json()["code"]) == (422, "invalid_cursor")


async def test_only_those_with_the_scope_see_and_change(api: Api):
    reader, customer = api.user("inventory:read"), api.user()
    for method, path, body in WRITES:
        assert (await call(reader, method, path, body)).status_code == 403, path
    for path in ("/v1/locations", "/v1/locations/main", "/v1/ops/audit", "/v1/events?of=shop"):
        assert (await customer.get(path)).status_code == 403, path
    assert (await reader.get("/v1/ops/audit")).status_code == 403
    auditor = api.user("ops:read")
    assert (await auditor.get("/v1/ops/audit")).status_code == 200
    assert (await auditor.post("/v1/ops/audit/repairs", {"reason": "x"})).status_code == 403
    nobody = await api.client.get("/v1/locations")
    assert nobody.status_code == 401


async def test_the_shops_events_are_for_those_who_may_see_stock(api: Api, clerk: User):
    told = (await clerk.get("/v1/events", params={"of": "shop"})).json()
    assert [each["type"] for each in told["events"]] == ["stock.back"]
    assert told["events"][0]["source"] == "/accounts/shop"
    clerks_own = api.user(scopes=frozenset({"inventory:read"}))
    assert (await clerks_own.get("/v1/events", params={"of": "shop"})).status_code == 200
    assert (await clerks_own.get("/v1/events")).status_code == 403
    assert (await clerk.get("/v1/events")).json()["events"] == []
    odd = await clerk.get("/v1/events", params={"of": "bob"})
    assert odd.json()["errors"][0]["field"] == "query.of"


async def test_a_difference_is_shown_and_repaired_over_http(api: Api):
    ops = api.user("ops:read", "ops:write", "inventory:read")
    hold_id = await api.shop.reserve(CHAI=2)
    api.store["stock"].update_one({"_id": "main:CHAI"}, {"$inc": {"available": 3}})
    found = (await ops.get("/v1/ops/audit", params={"sku": "CHAI"})).json()
    (finding,) = found["findings"]
    assert (finding["available"], finding["reserved"], finding["held"], finding["moved"]) == (11, 2, 2, 10)
    assert [hold["id"] for hold in finding["holds"]] == [hold_id]
    assert (finding["repaired"], finding["right_at"]) == (False, None)
    repaired = (await ops.post("/v1/ops/audit/repairs", {"reason": "ticket 1"})).json()
    assert [each["repaired"] for each in repaired["findings"]] == [True]
    assert (await ops.post("/v1/ops/audit/repairs", {"reason": "ticket 1"})).json()["findings"] == []
    *_, noted = (await ops.get(f"{STOCK}/movements")).json()["movements"]
    assert (noted["kind"], noted["actor"], noted["repair"]["available"]) == (
        "repair", ops.id, {"was": 11, "is": 8}
    )  # fmt: skip
    for answer in (
        await ops.get("/v1/ops/audit", params={"sku": "NOPE"}),
        await ops.post("/v1/ops/audit/repairs", {"reason": "x", "sku": "NOPE"}),
    ):
        assert answer.status_code == 404
