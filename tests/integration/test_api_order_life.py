"""Refunds, fulfilment and listings of orders over HTTP: who may, and what is refused."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.settings import Settings
from domain.values import new_id
from tests.api import ORDER, Api, User, open_api

PARTS = [{"sku": "CHAI", "quantity": 1}]


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        await api.shop.stock(CHAI=50, TEA=50)
        yield api


async def paid(api: Api, user: User, body: Any = None) -> str:
    order_id = str((await user.post("/v1/orders", body or ORDER)).json()["id"])
    await api.settle(order_id)
    await api.shop.pay(order_id, owner=user.id)
    return order_id


async def test_staff_send_complete_and_refund_what_a_customer_has_paid(api: Api):
    user, staff = api.user(), api.user("orders:manage", role="staff")
    order_id = await paid(api, user)
    here = f"/v1/orders/{order_id}"
    parcel = {"lines": PARTS, "tracking_number": "RM1", "carrier": "Royal Mail"}
    for n in range(2):
        sent = await staff.post(f"{here}/fulfilments", parcel, key="one")
        assert (sent.status_code, sent.json()["order_state"]) == (201, "paid")
        assert sent.headers.get("idempotent-replayed") == (None, "true")[n]
    too_much = await staff.post(f"{here}/fulfilments", {"lines": [{"sku": "CHAI", "quantity": 2}]})
    assert (too_much.status_code, too_much.json()["code"]) == (409, "too_many_units")
    early = await staff.post(f"{here}/complete")
    assert (early.status_code, early.json()["facts"]["allowed"]) == (409, ["fulfilled", "refunded"])
    assert (await staff.post(f"{here}/fulfilments", {})).json()["order_state"] == "fulfilled"
    for _ in range(2):
        assert (await staff.post(f"{here}/complete")).json()["state"] == "completed"
    refund = await staff.post(f"{here}/refunds", {"reason": "late"}, key="back")
    again = await staff.post(f"{here}/refunds", {"reason": "late"}, key="back")
    assert (refund.status_code, again.json(), again.headers["idempotent-replayed"]) == (
        202,
        refund.json(),
        "true",
    )
    await api.shop.work(refund.json()["id"])
    job = (await staff.get(refund.headers["location"])).json()
    assert (job["kind"], job["state"], job["result"]["order_state"]) == (
        "orders.refund",
        "succeeded",
        "refunded",
    )
    shown = (await user.get(here)).json()
    assert [each["state"] for each in shown["timeline"]] == [
        "pending", "reserved", "paid", "paid", "fulfilled", "completed", "completed", "refunded",
    ]  # fmt: skip
    assert {each["actor"] for each in shown["timeline"]} == {user.id, staff.id, "system"}


async def test_a_customer_neither_sends_nor_refunds_and_strangers_see_nothing(api: Api):
    user, stranger = api.user(), api.user("ops:write", "orders:price")
    here = f"/v1/orders/{await paid(api, user)}"
    for who in (user, stranger):
        for path, body in (("refunds", {"reason": "mine"}), ("fulfilments", {}), ("complete", None)):
            refused = await who.post(f"{here}/{path}", body)
            assert (refused.status_code, refused.json()["facts"]) == (403, {"scope": "orders:manage"})
    assert (await stranger.get(here)).status_code == 404
    assert (await api.client.post(f"{here}/refunds", json={"reason": "x"})).status_code == 401
    manager = api.user(scopes=frozenset({"orders:manage"}))
    assert (await manager.get(here, params={"wait": 1})).status_code == 200


async def test_staff_cancel_anybodys_order_with_a_reason_and_a_customer_their_own(api: Api):
    user, stranger, staff = api.user(), api.user(), api.user("orders:manage", role="staff")
    placed = [(await user.post("/v1/orders", ORDER)).json()["id"] for _ in range(3)]
    for order_id in placed[:2]:
        await api.settle(order_id)
    asks: list[tuple[User, Any]] = [
        (staff, {"reason": "a doublet"}),
        (user, None),
        (staff, {"reason": "late"}),
    ]
    for order_id, (who, ask) in zip(placed, asks, strict=True):
        here = f"/v1/orders/{order_id}"
        assert (await stranger.post(f"{here}/cancel")).status_code == 404
        accepted = await who.post(f"{here}/cancel", ask, key=order_id)
        assert accepted.status_code == 202
        assert (await who.post(f"{here}/cancel", ask, key=order_id)).headers["idempotent-replayed"] == "true"
        job = await api.shop.work(accepted.json()["id"])
        assert (job["state"], job["result"]) == ("succeeded", {"order_state": "cancelled"})
        shown = (await user.get(here)).json()
        last = shown["timeline"][-1]
        reason = (ask or {}).get("reason")
        assert (shown["state"], last["actor"], last["reason"]) == ("cancelled", who.id, reason)
    told = await api.services.events.after(user.id, 0, limit=50)
    assert [each["data"].get("reason") for each in told if each["type"] == "order.cancelled"] == [
        "a doublet", None, "late",
    ]  # fmt: skip
    await api.shop.check_books()


async def test_a_cancel_that_makes_no_sense_is_refused(api: Api, subtests: pytest.Subtests):
    user, staff = api.user(), api.user("orders:manage", role="staff")
    order_id = await paid(api, user)
    bodies: list[Any] = [{"reason": " "}, {"reason": "x" * 201}, {"reason": 1}, {"why": "x"}, []]
    for body in bodies:
        with subtests.test(body=str(body)[:30]):
            assert (await staff.post(f"/v1/orders/{order_id}/cancel", body)).status_code == 422
    late = await staff.post(f"/v1/orders/{order_id}/cancel", {"reason": "late"})
    job = await api.shop.work(late.json()["id"])
    assert (job["error"]["code"], job["error"]["detail"]) == (
        "invalid_transition",
        {"order": order_id, "state": "paid", "wanted": "cancelled", "allowed": ["fulfilled", "refunded"]},
    )
    for missing in (new_id(), late.json()["id"], "x"):
        assert (await staff.post(f"/v1/orders/{missing}/cancel")).json()["code"] == "order_not_found"


async def test_what_is_not_there_is_not_found(api: Api):
    staff = api.user("orders:manage")
    for path, body in (("refunds", {"reason": "x"}), ("fulfilments", {}), ("complete", None)):
        for order_id in (new_id(), "x", "%00"):
            missing = await staff.post(f"/v1/orders/{order_id}/{path}", body)
            assert (missing.status_code, missing.json()["code"]) == (404, "order_not_found")


async def test_a_body_that_makes_no_sense_is_refused_with_the_field(api: Api, subtests: pytest.Subtests):
    staff = api.user("orders:manage")
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("refunds", {}, "body.reason"),
        ("refunds", {"reason": " "}, "body.reason"),
        ("refunds", {"reason": "x" * 201}, "body.reason"),
        ("refunds", {"reason": "x", "lines": []}, "body.lines"),
        ("refunds", {"reason": "x", "lines": PARTS * 2}, "body.lines"),
        ("refunds", {"reason": "x", "lines": [{"sku": "A", "quantity": 0}]}, "body.lines.0.quantity"),
        ("refunds", {"reason": "x", "restock": "perhaps"}, "body.restock"),
        ("refunds", {"reason": "x", "amount": 5}, "body.amount"),
        ("fulfilments", {"carrier": "a\0b"}, "body.carrier"),
        ("fulfilments", {"tracking_number": ""}, "body.tracking_number"),
        ("fulfilments", {"lines": [{"sku": "../", "quantity": 1}]}, "body.lines.0.sku"),
    ]
    for path, body, field in cases:
        with subtests.test(field=field, body=str(body)[:60]):
            refused = await staff.post(f"/v1/orders/{new_id()}/{path}", body)
            assert refused.status_code == 422
            assert field in {each["field"] for each in refused.json()["errors"]}


async def test_orders_are_found_by_what_they_are(api: Api):
    ada, bob, staff = api.user(), api.user(), api.user("orders:manage", role="staff")
    tea = ORDER | {"items": [{"sku": "TEA", "quantity": 5}]}
    first, second = await paid(api, ada), await paid(api, bob, tea)
    third = (await ada.post("/v1/orders", tea)).json()["id"]
    await api.settle(third)

    async def found(who: User, **asked: Any) -> list[str]:
        answer = await who.get("/v1/orders", params=asked)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["orders"]]

    made = (
        (await ada.get(f"/v1/orders/{second}")).status_code,
        (await bob.get(f"/v1/orders/{second}")).json()["created_at"],
    )
    assert made[0] == 404
    assert await found(staff) == [third, second, first]
    assert await found(staff, state="paid") == [second, first]
    assert await found(staff, account=ada.id) == [third, first]
    assert await found(staff, sku="TEA", state="reserved") == [third]
    assert await found(staff, total_from=2001, total_to=5000) == [third, second]
    assert await found(staff, created_from=made[1]) == [third, second]
    assert await found(staff, created_to=made[1]) == [second, first]
    assert await found(ada, sku="TEA") == [third]
    assert await found(ada, account=ada.id, state="paid") == [first]
    assert await found(ada, account=bob.id) == []
    page = (await staff.get("/v1/orders", params={"limit": 1, "state": "paid"})).json()
    assert await found(staff, state="paid", cursor=page["next_cursor"]) == [first]


async def test_a_filter_that_makes_no_sense_is_refused(api: Api, subtests: pytest.Subtests):
    cases = {
        "state": ["pending", "PAID", ""],
        "account": ["", "a b", "x" * 65],
        "sku": ["", "$ne", "a b"],
        "created_from": ["yesterday", "2026-11-22", "2026-11-22T10:00:00", "1999-12-31T23:59:59Z", "12345"],
        "created_to": ["9999-12-31T23:59:59Z"],
        "total_from": ["-1", "1.5", "1_0", "1e30", ""],
        "total_to": [" 5"],
    }
    user = api.user()
    for name, values in cases.items():
        for value in values:
            with subtests.test(name=name, value=value):
                refused = await user.get("/v1/orders", params={name: value})
                assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, f"query.{name}")
