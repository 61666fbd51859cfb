"""Orders over HTTP: what is accepted, what is refused, and what a retry does."""

import asyncio
from typing import Any

import pytest

from tests.api import ORDER, Api

ITEM = {"sku": "CHAI", "quantity": 2}


def order(*items: Any, **more: Any) -> dict[str, Any]:
    return ORDER | {"items": list(items)} | more


async def test_an_order_is_accepted_reserved_and_paid(api: Api):
    await api.shop.stock(CHAI=5)
    user = api.user()
    answer = await user.post("/v1/orders", ORDER)
    assert answer.status_code == 202
    accepted = answer.json()
    order_id = accepted["id"]
    assert accepted["job_id"] == order_id
    assert accepted["state"] == "pending"
    assert answer.headers["location"] == f"/v1/jobs/{order_id}"
    assert answer.headers["retry-after"] == "1"
    pending = (await user.get(accepted["links"]["self"])).json()
    assert pending["state"] == "pending"
    await api.settle(order_id)
    reserved = (await user.get(accepted["links"]["self"], params={"wait": 5})).json()
    assert (reserved["state"], reserved["net"]) == ("reserved", 2000)
    assert [moment["state"] for moment in reserved["timeline"]] == ["pending", "reserved"]
    payment = await user.post(accepted["links"]["payments"], {"source": "sandbox:approve"})
    assert payment.status_code == 202
    assert payment.json()["links"]["order"] == accepted["links"]["self"]
    job = (await user.get(payment.headers["location"])).json()
    assert (job["kind"], job["subject"], job["state"]) == ("orders.pay", order_id, "queued")
    cancel = await user.post(accepted["links"]["cancel"])
    assert (cancel.status_code, cancel.json()["state"]) == (202, "queued")
    listed = (await user.get("/v1/orders")).json()
    assert [each["id"] for each in listed["orders"]] == [order_id]


async def test_a_quantity_is_a_whole_number_of_units(api: Api, subtests: pytest.Subtests):
    cases = [0, -1, 10**9, 10**30, 1.5, 1.0, True, "2", None, [], {}]
    for quantity in cases:
        with subtests.test(quantity=str(quantity)[:80]):
            answer = await api.user().post("/v1/orders", order(ITEM | {"quantity": quantity}))
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
            assert answer.json()["errors"][0]["field"] == "body.items.0.quantity"


async def test_an_order_that_is_not_well_formed_is_refused_with_the_field(
    api: Api, subtests: pytest.Subtests
):
    cases = [
        (order(), "body.items"),
        (order(*[ITEM] * 101), "body.items"),
        (order(*[ITEM] * 1001), "body.items"),
        (order(ITEM | {"sku": "a b"}), "body.items.0.sku"),
        (order(ITEM | {"sku": "../etc"}), "body.items.0.sku"),
        (order(ITEM | {"sku": "$where"}), "body.items.0.sku"),
        (order(ITEM | {"sku": {"$ne": ""}}), "body.items.0.sku"),
        (order(ITEM | {"sku": "A\n"}), "body.items.0.sku"),
        (order(ITEM | {"sku": ""}), "body.items.0.sku"),
        (order(ITEM | {"sku": "x" * 65}), "body.items.0.sku"),
        (order(ITEM | {"discount": 1}), "body.items.0.discount"),
        (order(ITEM | {"percent_off": 100.01}), "body.items.0.percent_off"),
        (order(ITEM | {"percent_off": 1.234}), "body.items.0.percent_off"),
        (order(ITEM | {"percent_off": -1}), "body.items.0.percent_off"),
        (order(ITEM | {"percent_off": True}), "body.items.0.percent_off"),
        (order(ITEM | {"percent_off": "NaN"}), "body.items.0.percent_off"),
        (order(ITEM | {"unit_price": {"amount": 1.5}}), "body.items.0.unit_price.amount"),
        (order(ITEM | {"unit_price": {"amount": -1}}), "body.items.0.unit_price.amount"),
        (order(ITEM | {"unit_price": {"amount": 1, "currency": "usd"}}), "body.items.0.unit_price.currency"),
        (order(ITEM, address=None), "body.address"),
        (order(ITEM, account_id="somebody"), "body.account_id"),
        (order(ITEM, **{"k" * 5000: 1}), "body." + "k" * 195),
    ]
    for body, field in cases:
        with subtests.test(body=str(body)[:80]):
            answer = await api.user("orders:price").post("/v1/orders", body)
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
            assert field in {error["field"] for error in answer.json()["errors"]}
            assert len(answer.content) < 6000


async def test_a_hundred_lines_and_lines_of_one_sku_are_fine(api: Api):
    await api.shop.stock(CHAI=200)
    user = api.user()
    order_id = (await user.post("/v1/orders", order(*[ITEM] * 100))).json()["id"]
    await api.settle(order_id)
    placed = (await user.get(f"/v1/orders/{order_id}")).json()
    assert (placed["state"], len(placed["lines"])) == ("reserved", 100)
    assert await api.shop.levels("CHAI") == (0, 200)


async def test_an_agreed_price_needs_its_scope(api: Api, subtests: pytest.Subtests):
    cases: list[dict[str, Any]] = [{"unit_price": {"amount": 1}}, {"percent_off": 0}, {"percent_off": 12.5}]
    for agreed in cases:
        with subtests.test(agreed=str(agreed)[:80]):
            body = order(ITEM, ITEM | agreed)
            refused = await api.user().post("/v1/orders", body)
            assert (refused.status_code, refused.json()["facts"]) == (403, {"scope": "orders:price"})
            assert (await api.user("orders:price").post("/v1/orders", body)).status_code == 202


async def test_a_key_is_asked_for_and_looked_at(api: Api, subtests: pytest.Subtests):
    cases = [None, "", "x" * 201, "two words", "caf\u00e9", "tab\there"]
    for key in cases:
        with subtests.test(key=str(key)[:80]):
            user = api.user()
            headers = user.headers() | ({} if key is None else {"Idempotency-Key": key})
            encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
            answer = await api.client.post("/v1/orders", json=ORDER, headers=encoded)
            code = "idempotency_key_missing" if key is None else "idempotency_key_invalid"
            assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_one_key_fifty_times_at_once_is_one_job(api: Api):
    user = api.user()
    answers = await asyncio.gather(*(user.post("/v1/orders", ORDER, key="one") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 49
    assert len((await user.get("/v1/jobs")).json()["jobs"]) == 1


async def test_a_replay_answers_as_the_first_even_after_the_end(api: Api):
    await api.shop.stock(CHAI=5)
    user = api.user()
    first = await user.post("/v1/orders", ORDER, key="one")
    await api.settle(first.json()["id"])
    again = await user.post("/v1/orders", ORDER, key="one")
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"


async def test_one_key_with_another_body_is_refused_and_another_account_is_free_to_use_it(api: Api):
    user = api.user()
    await user.post("/v1/orders", ORDER, key="one")
    other = await user.post("/v1/orders", order(ITEM | {"quantity": 3}), key="one")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await api.user().post("/v1/orders", ORDER, key="one")).status_code == 202


async def test_somebody_elses_order_is_not_there(api: Api):
    await api.shop.stock(CHAI=5)
    owner, stranger = api.user(), api.user("ops:write")
    order_id = (await owner.post("/v1/orders", ORDER)).json()["id"]
    for settled in (False, True):
        if settled:
            await api.settle(order_id)
        answers = [
            await stranger.get(f"/v1/orders/{order_id}"),
            await stranger.get(f"/v1/orders/{order_id}", params={"wait": 30}),
            await stranger.post(f"/v1/orders/{order_id}/cancel"),
            await stranger.post(f"/v1/orders/{order_id}/payments", {"source": "sandbox:approve"}),
        ]
        codes = [(answer.status_code, answer.json()["code"]) for answer in answers]
        assert codes == [(404, "order_not_found")] * 4
    assert (await stranger.get("/v1/orders")).json() == {"orders": [], "next_cursor": None}
    assert (await api.user("ops:read").get(f"/v1/orders/{order_id}")).status_code == 200


async def test_a_job_that_is_no_order_is_no_order(api: Api):
    user = api.user()
    reservation = (await user.post("/v1/reservations", {"items": [ITEM]})).json()["id"]
    assert (await user.get(f"/v1/orders/{reservation}")).status_code == 404
    assert (await user.post(f"/v1/orders/{reservation}/cancel")).status_code == 404


async def test_orders_come_in_pages_newest_first(api: Api):
    await api.shop.stock(CHAI=50)
    user = api.user()
    placed = [(await user.post("/v1/orders", ORDER)).json()["id"] for _ in range(5)]
    for order_id in placed:
        await api.settle(order_id)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = (await user.get("/v1/orders", params={"limit": 2, **cursor})).json()
        seen += [each["id"] for each in answer["orders"]]
        if answer["next_cursor"] is None:
            break
        cursor = {"cursor": answer["next_cursor"]}
    assert seen == placed[::-1]


async def test_a_wait_ends_with_the_job(api: Api):
    await api.shop.stock(CHAI=5)
    user = api.user()
    order_id = (await user.post("/v1/orders", ORDER)).json()["id"]
    waiting = asyncio.create_task(user.get(f"/v1/orders/{order_id}", params={"wait": 9}))
    await api.until_waiting()
    assert api.app.state.gate.working == 0
    await api.settle(order_id)
    async with asyncio.timeout(1):
        assert (await waiting).json()["state"] == "reserved"
    assert api.app.state.gate.waiting == 0


async def test_a_wait_without_an_end_answers_when_it_is_over(api: Api):
    user = api.user()
    order_id = (await user.post("/v1/orders", ORDER)).json()["id"]
    answer = await user.get(f"/v1/orders/{order_id}", params={"wait": 0.2})
    assert answer.json()["state"] == "pending"


async def test_a_wait_out_of_bounds_is_refused(api: Api, subtests: pytest.Subtests):
    cases = ["-1", "31", "1e9", "nan", "inf", "soon", ""]
    for wait in cases:
        with subtests.test(wait=str(wait)[:80]):
            for path in ("/v1/orders/x", "/v1/jobs/x", "/v1/reservations/x"):
                answer = await api.user().get(path, params={"wait": wait})
                assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "query.wait")
