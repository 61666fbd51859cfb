"""What people do with the shop, from registering to the last refund, over HTTP and on real processes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest

from domain.values import new_id
from ops.fleet import Fleet
from ops.stack import Stack
from tests.conftest import environment_on
from tests.discounts import check_uses
from tests.e2e.town import ADDRESS, PASSWORD, TIMEOUT, Person, Town, log_in, open_town, order_of
from tests.factories import eventually
from tests.smtp import Postbox, serving

#: A customer who waits for this long has lost what she ordered.
HOLD_TIME = "8s"
#: Grams up to which a parcel costs the lower rate; 20 % on goods and on shipping.
SHIPPING = [
    {"country": "GB", "up_to_g": 2000, "price": {"amount": 490, "currency": "USD"}},
    {"country": "GB", "price": {"amount": 990, "currency": "USD"}},
]
TAX = [{"country": "GB", "name": "VAT", "percent": 20, "on_shipping": True}]
ANY = "*"
#: Seconds in which another API refuses what was ended: before it would look again by itself.
SOON = 3.0


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Postbox]:
    """Where the shop's letters go."""
    async with serving() as box:
        yield box


@pytest.fixture(scope="module")
async def town(stack: Stack, box: Postbox, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Two APIs, a worker for each of three pools, one scheduler; a shop that sends to one country."""
    environment = {**environment_on(stack), **box.settings, "STOCKYARD_ORDERS_HOLD_TIME": HOLD_TIME}
    pools = {"orders": 1, "inventory": 1, "notifications": 1}
    with Fleet(environment, folder=tmp_path_factory.mktemp("shop"), apis=2, pools=pools) as fleet:
        async with open_town(environment, fleet) as town:
            await town.ops.ask("PUT", "/v1/checkout/shipping-rates", {"rates": SHIPPING}, tag=ANY)
            await town.ops.ask("PUT", "/v1/checkout/tax-rates", {"rates": TAX}, tag=ANY)
            yield town


async def test_a_customer_buys_from_registering_to_the_last_refund(town: Town, box: Postbox):
    shirt, tea = await _shirt_and_tea(town)
    spring = await town.ops.post("/v1/discounts", {"code": "SPRING", "percent": 25, "on": [{"sku": tea}]})
    token = await _filled_cart(town, tea, 1)
    ada = await town.customer()
    await ada.ask("POST", "/v1/cart/items", {"sku": shirt, "quantity": 1})
    await ada.ask("POST", "/v1/cart/items", {"sku": tea, "quantity": 1})
    merged = (await ada.ask("POST", "/v1/cart/merge", {"token": token})).json()
    assert {line["sku"]: line["quantity"] for line in merged["lines"]} == {shirt: 1, tea: 2}

    order = await _order_by_quote(ada, code="spring")
    amounts = {name: order[name] for name in ("state", "net", "discount", "shipping", "tax", "total")}
    # 20 % of 20.00, of 36.00 without a quarter, and of the shipping.
    assert amounts == {
        "state": "reserved", "net": 5600, "discount": 900, "shipping": 490, "tax": 1038, "total": 6228,
    }  # fmt: skip
    assert (await ada.get("/v1/cart"))["lines"] == []
    assert (await town.levels(shirt), await town.levels(tea)) == ((4, 1), (3, 2))

    payment = await ada.pay(order["id"])
    assert payment["state"] == "succeeded", payment
    clerk = await _staff(town)
    sent = await clerk.post(f"/v1/orders/{order['id']}/fulfilments", {"carrier": "Royal Mail"})
    assert sent["order_state"] == "fulfilled"
    await clerk.ask("POST", f"/v1/orders/{order['id']}/complete")
    back = [
        await _refund(clerk, order["id"], lines=[{"sku": shirt, "quantity": 1}], restock=True),
        await _refund(clerk, order["id"]),
    ]
    assert [(each["amount"], each["order_state"]) for each in back] == [
        (2400, "completed"), (3828, "refunded"),
    ]  # fmt: skip
    assert (await town.levels(shirt), await town.levels(tea)) == ((5, 0), (3, 0))
    charge = await town.collection("sandbox_charges").find_one({"_id": payment["id"]})
    assert charge is not None
    assert (charge["status"], sorted(charge["refunds"].values())) == ("captured", [2400, 3828])

    usage = await town.ops.get(f"/v1/discounts/{spring['id']}/usage")
    assert [usage[state]["uses"] for state in ("held", "committed", "released")] == [0, 0, 1]
    assert await _told(ada) == [
        ("order.reserved", "reserved"), ("order.paid", "paid"), ("payment.captured", None),
        ("order.fulfilled", "fulfilled"), ("order.completed", "completed"), ("order.refunded", "completed"),
        ("order.refunded", "refunded"),
    ]  # fmt: skip
    assert [each["seq"] for each in await ada.events()] == [1, 2, 3, 4, 5, 6, 7]
    await check_uses(town.services)
    await town.check_settled()
    subjects = sorted(letter["Subject"] for letter in box.to(await _address(ada)))
    assert subjects == ["Money refunded", "Money refunded", "Order confirmed", "Order sent"]


async def test_who_waits_for_a_thing_gets_a_letter_when_it_is_back(town: Town, box: Postbox):
    ada, sku = await town.customer(), await town.product(0)
    address = await _address(ada)
    await ada.ask("PUT", f"/v1/subscriptions/stock.back/{sku}")
    await town.ops.post(f"/v1/inventory/{sku}/receipts", {"quantity": 40, "reason": "delivery"})
    await eventually(lambda: box.to(address), within=20)
    (entry,) = (await ada.get("/v1/inbox"))["entries"]
    (letter,) = box.to(address)
    assert (entry["type"], entry["subject"]) == ("product.back", sku)
    assert letter["Subject"] == entry["title"]
    assert letter["Message-ID"] == f"<{entry['id']}@example.com>"


async def test_somebody_finds_products_by_words_filters_and_counts(town: Town):
    shirt, tea = await _shirt_and_tea(town, name="Crème")
    async with httpx.AsyncClient(base_url=town.fleet.urls[1], timeout=TIMEOUT) as stranger:
        found = (await stranger.get("/v1/products?q=creme+cott&facet=category&facet=attribute")).json()
        assert [each["sku"] for each in found["products"]] == [shirt]
        assert found["facets"]["categories"] == [{"value": "Tops", "count": 1}]
        assert {"value": "M", "count": 1} in found["facets"]["attributes"]["size"]
        filtered = "/v1/products?q=creme&max_price=1900&in_stock=true"
        assert [each["sku"] for each in (await stranger.get(filtered)).json()["products"]] == [tea]
        shown = (await stranger.get(f"/v1/products/{tea}")).json()
        await town.ops.ask("PATCH", f"/v1/products/{tea}", {"status": "archived"}, tag=ANY)
        # The other API has just kept it.
        assert (await stranger.get(f"/v1/products/{shown['slug']}")).status_code == 404
        assert (await stranger.get(filtered)).json()["products"] == []


async def test_somebody_is_logged_in_on_two_devices_and_each_goes_by_itself(town: Town):
    ada = await town.customer()
    email = (await ada.get("/v1/me"))["email"]
    async with _device(town, 0, "phone") as phone, _device(town, 1, "laptop") as laptop:
        on_phone, on_laptop = await _session(phone, email), await _session(laptop, email)
        listed = (await _as(phone, on_phone).get("/v1/me/sessions"))["sessions"]
        assert [(each["device"], each["current"]) for each in listed] == [
            ("laptop", False), ("phone", True), (None, False),
        ]  # fmt: skip
        renewed = await _refreshed(phone, on_phone["refresh_token"])
        assert renewed["session_id"] == on_phone["session_id"]
        copied = {"refresh_token": on_phone["refresh_token"]}
        stolen = await laptop.post("/v1/auth/refresh", json=copied)
        assert (stolen.status_code, stolen.json()["code"]) == (401, "refresh_token_reused")
        # Whoever has the newest token of that session is out, too, here and at the other API; the laptop not.
        refused = await phone.post("/v1/auth/refresh", json={"refresh_token": renewed["refresh_token"]})
        assert refused.json()["code"] == "refresh_token_reused"
        for client in (phone, laptop):
            await eventually(partial(_is_refused, client, renewed["access_token"]), within=SOON)
        assert (await _as(laptop, on_laptop).get("/v1/me"))["id"] == ada.id
        await _as(laptop, on_laptop).ask("POST", "/v1/auth/logout", status=204)
        assert await _is_refused(laptop, on_laptop["access_token"])
        assert (await ada.get("/v1/me"))["id"] == ada.id


async def test_a_price_that_changes_after_the_quote_is_told_and_not_charged(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    await ada.ask("POST", "/v1/cart/items", {"sku": sku, "quantity": 2})
    quote = await ada.post("/v1/checkout/quote", {"cart": {}, "country": "GB"})
    assert (quote["state"], quote["total"]) == ("open", 2988)
    await _reprice(town, sku, 1100)
    refused = await ada.send("/v1/orders", {"quote_id": quote["id"], "address": ADDRESS})
    assert (refused.status_code, refused.json()["code"]) == (409, "quote_changed")
    assert refused.json()["facts"]["changes"] == [
        {"what": "unit_price", "line": 0, "sku": sku, "before": 1000, "now": 1100},
        {"what": "tax", "before": 498, "now": 538},
        {"what": "total", "before": 2988, "now": 3228},
    ]
    unseen = await ada.send("/v1/orders", {"cart": {}, "address": ADDRESS})
    assert (unseen.status_code, unseen.json()["code"]) == (409, "cart_changed")
    (line,) = (await ada.get("/v1/cart"))["lines"]
    assert (line["seen_price"]["amount"], line["price"]["amount"]) == (1000, 1100)
    assert line["problems"] == ["price_changed"]
    assert await town.levels(sku) == (5, 0)

    agreed = {"quantity": 2, "seen_price": line["price"]}
    await ada.ask("PUT", f"/v1/cart/items/{sku}", agreed)
    again = await ada.post("/v1/checkout/quote", {"cart": {}, "country": "GB"})
    accepted = await ada.post("/v1/orders", {"quote_id": again["id"], "address": ADDRESS})
    order = await ada.settled(accepted["id"])
    assert (order["state"], order["total"]) == ("reserved", 3228)
    twice = await ada.send("/v1/orders", {"quote_id": again["id"], "address": ADDRESS})
    assert (twice.status_code, twice.json()["code"]) == (409, "quote_used")


async def test_an_expired_order_gives_its_stock_and_its_code_back(town: Town):
    ada, bob, sku = await town.customer(), await town.customer(), await town.product(1)
    once = await town.ops.post("/v1/discounts", {"code": "ONCE", "percent": 10, "limit": 1})
    wanted = order_of({sku: 1}) | {"codes": ["ONCE"]}
    first = await ada.settled((await ada.post("/v1/orders", wanted))["id"])
    assert (first["state"], first["discount"]) == ("reserved", 100)
    too_early = await bob.settled((await bob.post("/v1/orders", wanted))["id"])
    assert too_early["rejection"]["code"] in {"discount_refused", "out_of_stock"}

    async def over() -> bool:
        return bool((await ada.look(first["id"]))["state"] == "expired")

    await eventually(over, within=30)
    assert await _told(ada) == [
        ("order.reserved", "reserved"), ("hold.expired", None), ("order.expired", "expired"),
    ]  # fmt: skip
    assert (await ada.pay(first["id"]))["error"]["code"] == "invalid_transition"
    usage = await town.ops.get(f"/v1/discounts/{once['id']}/usage")
    assert (usage["held"]["uses"], usage["released"]["uses"], usage["uses_left"]) == (0, 1, 1)
    second = await bob.settled((await bob.post("/v1/orders", wanted))["id"])
    assert (second["state"], second["discount"]) == ("reserved", 100)
    assert await town.levels(sku) == (0, 1)
    await check_uses(town.services)


async def test_staff_imports_a_file_publishes_reprices_and_discounts_it(town: Town):
    clerk = await _staff(town, "catalog:write", "inventory:write", "discounts:write")
    imported = await _import(
        clerk,
        "sku,product,name,category,price,status,option:size\n"
        "SOCK-S,dock-sock,Dock sock,Socks,700,draft,S\n"
        "SOCK-M,dock-sock,Dock sock,Socks,700,draft,M\n"
        "SOCK-X,,Broken sock,Socks,cheap,draft,\n",
    )
    assert [imported[name] for name in ("state", "rows", "created", "refused")] == ["succeeded", 3, 2, 1]
    report = await clerk.client.get(f"/v1/products/imports/{imported['id']}/refused", headers=clerk.headers)
    assert (report.json()["line"], report.json()["field"]) == (4, "price")

    ada = await town.customer()
    await ada.ask("GET", "/v1/products/SOCK-S", status=404)
    draft = await clerk.ask("GET", "/v1/products/SOCK-S")
    published = await clerk.ask(
        "PATCH", "/v1/products/SOCK-S", {"status": "published"}, tag=draft.headers["etag"]
    )
    dearer = {"variants": {"SOCK-M": {"price": {"amount": 800, "currency": "USD"}}}}
    await clerk.ask("PATCH", "/v1/products/SOCK-M", dearer, tag=draft.headers["etag"], status=412)
    await clerk.ask("PATCH", "/v1/products/SOCK-M", dearer, tag=published.headers["etag"])
    (change,) = (await clerk.get("/v1/products/SOCK-M/variants/SOCK-M/prices"))["changes"]
    assert [change[when]["amount"] for when in ("before", "after")] == [700, 800]
    assert change["actor"] == clerk.id

    await clerk.post("/v1/inventory/SOCK-M/receipts", {"quantity": 10, "reason": "delivery 1"})
    await clerk.post("/v1/discounts", {"code": "FEET", "fixed": {"amount": 150, "currency": "USD"}})
    basket = {"items": [{"sku": "SOCK-M", "quantity": 2}], "codes": ["FEET"]}
    previewed = (await ada.ask("POST", "/v1/discounts/preview", basket)).json()
    assert (previewed["subtotal"], previewed["total"]) == (1600, 1450)
    order = await ada.settled((await ada.post("/v1/orders", basket | {"address": ADDRESS}))["id"])
    assert [order[name] for name in ("net", "discount", "shipping", "tax", "total")] == [
        1600, 150, 490, 388, 2328,
    ]  # fmt: skip
    again = await _import(clerk, "sku,price\nSOCK-M,800\n")
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, 1)


async def test_ops_makes_staff_who_may_do_their_work_until_it_is_taken_from_them(town: Town):
    ada, sku = await town.customer(), await town.product(5)
    order = await ada.order({sku: 1})
    assert (await ada.pay(order["id"]))["state"] == "succeeded"
    other = await ada.order({sku: 2})
    sent, cancelled = f"/v1/orders/{order['id']}/fulfilments", f"/v1/orders/{other['id']}/cancel"
    bob = await town.customer()
    await bob.ask("POST", sent, {}, status=403)
    await bob.ask("POST", cancelled, {"reason": "spite"}, status=404)
    clerk = await _staff(town, person=bob)
    seen = (await clerk.get(f"/v1/orders?account={ada.id}"))["orders"]
    assert [each["id"] for each in seen] == [other["id"], order["id"]]
    await clerk.ask("POST", sent, {}, status=201)
    job = await clerk.done((await clerk.post(cancelled, {"reason": "cannot be sent"}))["id"])
    assert job["state"] == "succeeded", job
    last = (await ada.look(other["id"]))["timeline"][-1]
    assert [last[name] for name in ("state", "actor", "reason")] == ["cancelled", clerk.id, "cannot be sent"]
    assert await town.levels(sku) == (4, 0)
    await clerk.ask("PATCH", f"/v1/accounts/{clerk.id}", {"role": "ops"}, tag=ANY, status=403)
    await town.ops.ask("PATCH", f"/v1/accounts/{clerk.id}", {"role": "customer"}, tag=ANY)
    async with httpx.AsyncClient(base_url=town.fleet.urls[1], timeout=TIMEOUT) as there:
        for api in (clerk, replace(clerk, client=there)):
            await eventually(partial(_answers, api, f"/v1/orders/{order['id']}", 404), within=SOON)


async def test_a_key_orders_within_its_limit_until_it_is_revoked_everywhere(town: Town):
    ada, sku = await town.customer(), await town.product(9)
    wanted = {"name": "till", "scopes": ["orders:write", "orders:read"], "rate_limit": 4}
    made = await ada.post("/v1/keys", wanted)
    async with (
        httpx.AsyncClient(base_url=town.fleet.urls[0], timeout=TIMEOUT) as here,
        httpx.AsyncClient(base_url=town.fleet.urls[1], timeout=TIMEOUT) as there,
    ):
        till = [Person(ada.id, made["key"], client) for client in (here, there)]
        order = await till[0].order({sku: 1})
        assert order["state"] == "reserved"
        assert (await ada.look(order["id"]))["timeline"][0]["actor"] == ada.id
        # Both APIs count together: two requests are spent, two are left.
        await till[1].ask("GET", "/v1/keys", status=403)
        last = await till[1].ask("GET", f"/v1/orders/{order['id']}")
        assert last.headers["ratelimit-policy"] == '"key";q=4;w=60'
        assert last.headers["ratelimit"].startswith('"key";r=0;t=')
        for each in till:
            over = await each.ask("GET", "/v1/orders", status=429)
            assert over.json()["code"] == "too_many_requests"
            assert int(over.headers["retry-after"]) > 0
        await ada.ask("DELETE", f"/v1/keys/{made['id']}", status=204)
        assert await _is_refused(here, made["key"])
        await eventually(partial(_is_refused, there, made["key"]), within=SOON)
    assert (await ada.get(f"/v1/keys/{made['id']}"))["revoked_at"] is not None


async def test_a_stranger_finds_nothing_of_others(town: Town):
    ada, eve, sku = await town.customer(), await town.customer(), await town.product(5)
    await ada.ask("POST", "/v1/cart/items", {"sku": sku, "quantity": 1})
    quote = await ada.post("/v1/checkout/quote", {"cart": {}, "country": "GB"})
    order = await ada.order({sku: 1})
    payment = await ada.pay(order["id"])
    held = await ada.post("/v1/reservations", {"items": [{"sku": sku, "quantity": 1}]})
    key = await ada.post("/v1/keys", {"name": "till", "scopes": ["orders:read"]})
    (session,) = (await ada.get("/v1/me/sessions"))["sessions"]
    for path in (
        f"/v1/orders/{order['id']}", f"/v1/orders/{order['id']}?wait=1", f"/v1/jobs/{order['id']}",
        f"/v1/jobs/{payment['id']}", f"/v1/jobs/{payment['id']}?wait=1", f"/v1/keys/{key['id']}",
        f"/v1/checkout/quotes/{quote['id']}", f"/v1/reservations/{held['id']}",
    ):  # fmt: skip
        await eve.ask("GET", path, status=404)
    for method, path, body in (
        ("POST", f"/v1/orders/{order['id']}/cancel", None),
        ("POST", f"/v1/orders/{order['id']}/payments", {"source": "sandbox:approve"}),
        ("POST", "/v1/orders", {"quote_id": quote["id"], "address": ADDRESS}),
        ("POST", f"/v1/keys/{key['id']}/rotate", {}),
        ("DELETE", f"/v1/keys/{key['id']}", None),
        ("DELETE", f"/v1/me/sessions/{session['id']}", None),
        ("DELETE", f"/v1/reservations/{held['id']}", None),
    ):
        await eve.ask(method, path, body, status=404)
    refused = await eve.order({sku: 1}, reservation=held["id"])
    assert refused["rejection"]["code"] == "reservation_not_found"
    assert (await eve.get("/v1/orders"))["orders"][0]["id"] == refused["id"]
    assert (await eve.get("/v1/cart"))["lines"] == []
    assert await _told(eve) == [("order.rejected", "rejected")]
    assert (await ada.get("/v1/me"))["id"] == ada.id
    assert (await ada.look(order["id"]))["state"] == "paid"


# -- what the stories are told with ------------------------------------------------------------------


async def _address(who: Person) -> str:
    return str((await who.get("/v1/me"))["email"])


async def _shirt_and_tea(town: Town, name: str = "Rosé") -> tuple[str, str]:
    """The SKUs of two products: at 20.00 with 200 g, and at 18.00 with 500 g; 5 units of each."""
    stem = f"{name.upper()[:2]}{new_id()[-6:]}"
    shirt = {
        "name": f"{name} shirt", "category": "Tops", "type": "clothing", "status": "published",
        "attributes": {"fabric": [{"name": "cotton", "percent": 100}]}, "options": ["size"],
        "variants": [_variant(f"{stem}-M", 2000, 200, size="M")],
    }  # fmt: skip
    tea = {
        "name": f"{name} tea", "category": "Beverages", "type": "grocery", "status": "published",
        "attributes": {"net_weight_g": 500}, "variants": [_variant(f"{stem}-T", 1800, 500)],
    }  # fmt: skip
    for product in (shirt, tea):
        made = await town.ops.post("/v1/products", product)
        await town.ops.post(f"/v1/inventory/{made['sku']}/receipts", {"quantity": 5, "reason": "delivery"})
    return f"{stem}-M", f"{stem}-T"


def _variant(sku: str, cents: int, grams: int, **options: str) -> dict[str, Any]:
    price = {"amount": cents, "currency": "USD"}
    return {"sku": sku, "price": price, "weight_g": grams, "options": options}


async def _filled_cart(town: Town, sku: str, quantity: int) -> str:
    """The token of a stranger's cart, filled through both APIs."""
    async with httpx.AsyncClient(base_url=town.fleet.urls[1], timeout=TIMEOUT) as other:
        token = (await town.client.post("/v1/carts")).json()["token"]
        headers = {"Cart-Token": token, "Idempotency-Key": new_id()}
        line = {"sku": sku, "quantity": quantity}
        answers = [
            await client.post("/v1/cart/items", json=line, headers=headers) for client in (other, town.client)
        ]
    # The second is a repetition of the first.
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [each["quantity"] for each in answers[1].json()["lines"]] == [quantity]
    return str(token)


async def _order_by_quote(who: Person, *, code: str) -> dict[str, Any]:
    """What becomes of the cart with the code, and costs what was quoted."""
    await who.ask("PUT", "/v1/cart/codes", {"codes": [code]})
    quote = await who.post("/v1/checkout/quote", {"cart": {}, "country": "GB"})
    accepted = await who.post("/v1/orders", {"quote_id": quote["id"], "address": ADDRESS})
    order = await who.settled(accepted["id"])
    assert {name: order[name] for name in ("lines", "total")} == {
        name: quote[name] for name in ("lines", "total")
    }
    return order


async def _refund(clerk: Person, order_id: str, **what: Any) -> dict[str, Any]:
    accepted = await clerk.post(f"/v1/orders/{order_id}/refunds", what | {"reason": "did not fit"})
    job = await clerk.done(accepted["id"])
    assert job["state"] == "succeeded", job
    return dict(job["result"])


async def _told(who: Person) -> list[tuple[str, str | None]]:
    """Type and state of each of the account's events, in their order."""
    return [(each["type"], each["data"].get("state")) for each in await who.events()]


async def _staff(town: Town, *scopes: str, person: Person | None = None) -> Person:
    """Somebody whom ops has made staff, with the role's own scopes or with these; logged in anew."""
    found = person or await town.customer()
    change: Mapping[str, Any] = {"role": "staff"} | ({"scopes": scopes} if scopes else {})
    account = (await town.ops.ask("PATCH", f"/v1/accounts/{found.id}", change, tag=ANY)).json()
    return await log_in(town.client, account["email"], account_id=found.id)


async def _reprice(town: Town, sku: str, cents: int) -> None:
    change = {"variants": {sku: {"price": {"amount": cents, "currency": "USD"}}}}
    await town.ops.ask("PATCH", f"/v1/products/{sku}", change, tag=ANY)


async def _import(clerk: Person, rows: str) -> dict[str, Any]:
    headers = clerk.headers | {"Idempotency-Key": new_id(), "Content-Type": "text/csv"}
    accepted = await clerk.client.post("/v1/products/imports", content=rows.encode(), headers=headers)
    assert accepted.status_code == 202, accepted.text
    await clerk.done(accepted.json()["id"])
    return dict(await clerk.get(f"/v1/products/imports/{accepted.json()['id']}"))


@asynccontextmanager
async def _device(town: Town, api: int, name: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"User-Agent": name}
    async with httpx.AsyncClient(base_url=town.fleet.urls[api], timeout=TIMEOUT, headers=headers) as client:
        yield client


async def _session(device: httpx.AsyncClient, email: str) -> dict[str, Any]:
    credentials = {"email": email, "password": PASSWORD, "device": device.headers["user-agent"]}
    answer = await device.post("/v1/auth/login", json=credentials)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _refreshed(device: httpx.AsyncClient, token: str) -> dict[str, Any]:
    """What twenty refreshes at once with the same token agree on."""
    body = {"refresh_token": token}
    answers = await asyncio.gather(*(device.post("/v1/auth/refresh", json=body) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    return dict(answers[0].json())


def _as(device: httpx.AsyncClient, session: Mapping[str, Any]) -> Person:
    return Person("", session["access_token"], device)


async def _is_refused(client: httpx.AsyncClient, credential: str) -> bool:
    answer = await client.get("/v1/orders", headers={"Authorization": f"Bearer {credential}"})
    return answer.status_code == 401


async def _answers(who: Person, path: str, status: int) -> bool:
    return (await who.client.get(path, headers=who.headers)).status_code == status
