"""Quotes, rates, and orders of carts and quotes: over HTTP, and under races."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from domain.bootstrap import Services
from domain.discounts.builder import Discount
from domain.errors import CartEmpty, QuoteExpired
from domain.orders.checkout import OrderRequest
from domain.settings import Settings
from domain.values import new_id
from tests.api import ORDER, Api, User, open_api
from tests.conftest import MovableClock
from tests.discounts import make
from tests.factories import ADDRESS, Shop, set_price, withdraw
from tests.transactions import LABELS, commit_whose_answer_is_lost

TO = {"address": ORDER["address"]}
GB = {"country": "GB", "price": {"amount": 490, "currency": "USD"}}
VAT = {"country": "GB", "name": "VAT", "percent": 20, "on_shipping": True}
CART = {"cart": {}, **TO}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        await api.shop.stock(CHAI=50, TOFU=50)
        yield api


async def send(user: User, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return await user.client.request(method, path, json=body, headers=user.headers() | headers)


async def fill(user: User, **units: int) -> None:
    for sku, quantity in units.items():
        answer = await user.post("/v1/cart/items", {"sku": sku, "quantity": quantity})
        assert answer.status_code == 200, answer.text


async def in_cart(user: User) -> dict[str, int]:
    cart = (await user.get("/v1/cart")).json()
    return {line["sku"]: line["quantity"] for line in cart["lines"]}


async def quoted(user: User, **ask: Any) -> dict[str, Any]:
    answer = await user.post("/v1/checkout/quote", ask)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def rate(api: Api, table: str, *rates: Any) -> None:
    clerk = api.user("catalog:write")
    answer = await send(clerk, "PUT", f"/v1/checkout/{table}", {"rates": rates}, **{"If-Match": "*"})
    assert answer.status_code == 200, answer.text


async def placed(api: Api, user: User, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    await api.settle(answer.json()["id"])
    order: dict[str, Any] = (await user.get(answer.json()["links"]["self"])).json()
    return order


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# -- rates --


async def test_rates_are_replaced_by_who_has_seen_them(api: Api):
    clerk = api.user("catalog:write")
    for table, rates in (("shipping-rates", [GB]), ("tax-rates", [VAT])):
        path = f"/v1/checkout/{table}"
        empty = await clerk.get(path)
        assert (empty.status_code, empty.json()) == (200, {"rates": []})
        seen = {"If-Match": empty.headers["etag"]}
        first = await send(clerk, "PUT", path, {"rates": rates}, **seen)
        assert first.status_code == 200
        assert first.json()["rates"][0].items() >= rates[0].items()
        assert code(await send(clerk, "PUT", path, {"rates": []}, **seen)) == (412, "stale_revision")
        assert code(await send(clerk, "PUT", path, {"rates": []})) == (428, "if_match_missing")
        read = await clerk.get(path)
        assert (read.json(), read.headers["etag"]) == (first.json(), first.headers["etag"])
        latest = {"If-Match": read.headers["etag"]}
        assert (await send(clerk, "PUT", path, {"rates": []}, **latest)).json() == {"rates": []}


async def test_of_clerks_who_write_the_first_table_at_once_one_does(api: Api):
    clerk = api.user("catalog:write")
    seen = {"If-Match": (await clerk.get("/v1/checkout/tax-rates")).headers["etag"]}
    bodies = [{"rates": [VAT | {"percent": percent}]} for percent in range(1, 9)]
    answers = await asyncio.gather(
        *(send(clerk, "PUT", "/v1/checkout/tax-rates", body, **seen) for body in bodies)
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 7}


async def test_rates_that_make_no_sense_are_refused(api: Api, subtests: pytest.Subtests):
    clerk, any_tag = api.user("catalog:write"), {"If-Match": "*"}
    for table, rates in (
        ("shipping-rates", [GB, GB | {"country": "gb"}]),
        ("shipping-rates", [GB | {"price": {"amount": -1}}]),
        ("shipping-rates", [GB | {"up_to_g": 0}]),
        ("shipping-rates", [GB | {"country": " "}]),
        ("shipping-rates", [GB | {"color": "red"}]),
        ("tax-rates", [VAT, VAT]),
        ("tax-rates", [VAT | {"percent": 101}]),
        ("tax-rates", [VAT | {"percent": "NaN"}]),
        ("tax-rates", [VAT | {"included": "perhaps"}]),
        ("tax-rates", [VAT] * 1001),
    ):
        with subtests.test(rates=str(rates)[:80]):
            answer = await send(clerk, "PUT", f"/v1/checkout/{table}", {"rates": rates}, **any_tag)
            assert answer.status_code == 422


async def test_rates_are_the_clerks(api: Api):
    for method in ("GET", "PUT"):
        for table in ("shipping-rates", "tax-rates"):
            answer = await send(api.user(), method, f"/v1/checkout/{table}", {"rates": []})
            assert code(answer) == (403, "forbidden")


async def test_another_process_calculates_with_new_rates_within_seconds(
    shop: Shop, rewire: Callable[..., Services], clock: MovableClock
):
    other = rewire()
    assert await other.tables.rates() is not None
    await shop.services.database["checkout_tables"].insert_one(
        {
            "_id": "shipping", "rates": [GB | {"up_to_g": None}],
            "revision": "1", "updated_at": clock(), "updated_by": "clerk",
        }
    )  # fmt: skip
    clock.move(seconds=4)
    charge = (await other.tables.rates()).shipping.charge(weight_g=0, country="GB", currency="USD")
    assert charge == 490


# -- quotes --


async def test_a_quote_of_the_cart_tells_lines_discounts_shipping_tax_and_total(api: Api):
    user, staff = api.user(), api.user("discounts:write")
    await rate(api, "shipping-rates", GB)
    await rate(api, "tax-rates", VAT)
    made = await staff.post("/v1/discounts", {"code": "SPRING", "percent": 10})
    assert made.status_code == 201, made.text
    await fill(user, CHAI=2, TOFU=1)
    assert (await send(user, "PUT", "/v1/cart/codes", {"codes": ["SPRING", "GHOST"]})).status_code == 200
    answer = await user.post("/v1/checkout/quote", {"cart": {}, "country": "gb"})
    quote = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/checkout/quotes/{quote['id']}")
    amounts = {name: quote[name] for name in ("gross", "net", "discount", "shipping", "tax", "total")}
    assert amounts == {
        "gross": 3000, "net": 3000, "discount": 300, "shipping": 490, "tax": 540 + 98, "total": 3828,
    }  # fmt: skip
    assert quote["discounts"][0]["by_line"] == [
        {"line": 0, "sku": "CHAI", "amount": 200},
        {"line": 1, "sku": "TOFU", "amount": 100},
    ]
    assert [(line["discount"], line["tax"]) for line in quote["lines"]] == [(200, 360), (100, 180)]
    assert (quote["codes"], quote["refusals"]) == (["SPRING"], [{"code": "GHOST", "reason": "unknown_code"}])
    assert (quote["state"], quote["order_id"], quote["country"]) == ("open", None, "gb")
    assert (await user.get(answer.headers["location"])).json() == quote
    shown = (await user.get("/v1/cart", params={"country": "GB"})).json()["totals"]
    assert {name: shown[name] for name in amounts} == amounts
    order = await placed(api, user, await user.post("/v1/orders", {"quote_id": quote["id"], **TO}))
    assert {name: order[name] for name in amounts} == amounts
    assert (order["state"], order["discounts"]) == ("reserved", quote["discounts"])
    assert await in_cart(user) == {}
    assert (await user.get(answer.headers["location"])).json()["order_id"] == order["id"]


async def test_an_order_charges_its_total(api: Api):
    user = api.user()
    await rate(api, "shipping-rates", GB)
    order = await placed(api, user, await user.post("/v1/orders", ORDER))
    assert (order["net"], order["shipping"], order["total"]) == (2000, 490, 2490)
    await api.shop.pay(order["id"], owner=user.id)
    (payment,) = await api.services.database["payments"].find().to_list()
    assert payment["amount"] == 2490


async def test_where_nothing_is_sent_no_quote_is_made_and_no_order_placed(api: Api):
    user = api.user()
    await rate(api, "shipping-rates", GB | {"country": "NO"})
    ask = {"items": ORDER["items"], "country": "GB"}
    refused = await user.post("/v1/checkout/quote", ask)
    assert code(refused) == (422, "no_shipping_to")
    assert refused.json()["facts"] == {"country": "GB", "reason": "country"}
    order = await placed(api, user, await user.post("/v1/orders", ORDER))
    assert (order["state"], order["rejection"]["code"]) == ("rejected", "no_shipping_to")
    await fill(user, CHAI=1)
    cart = (await user.get("/v1/cart", params={"country": "GB"})).json()
    assert (cart["totals"], cart["problem"]["code"]) == (None, "no_shipping_to")
    assert code(await user.post("/v1/orders", CART)) == (422, "no_shipping_to")


async def test_an_agreed_price_can_be_quoted_by_who_may_agree(api: Api):
    agreed = [{"sku": "CHAI", "quantity": 2, "unit_price": {"amount": 500}, "percent_off": 10}]
    ask = {"items": agreed, "country": "GB"}
    assert code(await api.user().post("/v1/checkout/quote", ask)) == (403, "forbidden")
    user = api.user("orders:price")
    quote = await quoted(user, **ask)
    assert (quote["gross"], quote["net"]) == (1000, 900)
    order = await placed(api, user, await user.post("/v1/orders", {"quote_id": quote["id"], **TO}))
    assert (order["state"], order["total"]) == ("reserved", 900)


async def test_what_cannot_be_quoted_is_refused(api: Api, subtests: pytest.Subtests):
    user, items = api.user(), list(ORDER["items"])
    for ask in (
        {"country": "GB"},
        {"items": items},
        {"items": items, "country": ""},
        {"items": items, "country": "x"},
        {"items": items, "cart": {}, "country": "GB"},
        {"cart": {}, "codes": ["A"], "country": "GB"},
        {"items": [], "country": "GB"},
        {"items": items * 101, "country": "GB"},
        {"items": items, "codes": ["a b"], "country": "GB"},
    ):
        with subtests.test(ask=str(ask)[:80]):
            assert code(await user.post("/v1/checkout/quote", ask)) == (422, "validation_error")
    ghost = {"items": [{"sku": "GHOST", "quantity": 1}], "country": "GB"}
    assert code(await user.post("/v1/checkout/quote", ghost)) == (422, "unknown_sku")
    assert code(await user.post("/v1/checkout/quote", {"cart": {}, "country": "GB"})) == (409, "cart_empty")


async def test_somebody_elses_quote_is_not_there(api: Api):
    owner, stranger = api.user(), api.user("orders:price", "ops:write")
    quote = await quoted(owner, items=ORDER["items"], country="GB")
    answers = [
        await stranger.get(f"/v1/checkout/quotes/{quote['id']}"),
        await stranger.post("/v1/orders", {"quote_id": quote["id"], **TO}),
        await owner.post("/v1/orders", {"quote_id": new_id(), **TO}),
        await owner.get("/v1/checkout/quotes/x"),
    ]
    assert [code(answer) for answer in answers] == [(404, "quote_not_found")] * 4
    reader = api.user(scopes=frozenset({"orders:read"}))
    assert code(await reader.post("/v1/checkout/quote", {"cart": {}, "country": "GB"})) == (403, "forbidden")


async def test_an_order_is_of_one_thing(api: Api, subtests: pytest.Subtests):
    quote, items = new_id(), ORDER["items"]
    for body in (
        TO,
        {"items": items, "cart": {}, **TO},
        {"items": items, "quote_id": quote, **TO},
        {"cart": {}, "quote_id": quote, **TO},
        {"cart": {}, "codes": ["A"], **TO},
        {"quote_id": quote, "reservation_id": quote, **TO},
        {"items": items, "expected": {"currency": "USD", "prices": [1]}, **TO},
        {"cart": {"version": ""}, **TO},
        {"quote_id": "x", **TO},
    ):
        with subtests.test(body=str(body)[:60]):
            assert code(await api.user().post("/v1/orders", body)) == (422, "validation_error")


async def test_a_quote_is_good_for_one_order(api: Api):
    user = api.user()
    quote = await quoted(user, items=ORDER["items"], country="GB")
    body = {"quote_id": quote["id"], **TO}
    answers = await asyncio.gather(*(user.post("/v1/orders", body) for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 7}
    assert {code(answer) for answer in answers if answer.status_code == 409} == {(409, "quote_used")}
    again = await user.post("/v1/orders", body)
    assert code(again) == (409, "quote_used")
    (first,) = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert again.json()["facts"]["order"] == first
    assert (await user.get(f"/v1/checkout/quotes/{quote['id']}")).json()["state"] == "ordered"


async def test_a_quote_is_for_the_country_that_it_was_made_for(api: Api):
    user = api.user()
    quote = await quoted(user, items=ORDER["items"], country="NO")
    refused = await user.post("/v1/orders", {"quote_id": quote["id"], **TO})
    assert (code(refused), refused.json()["facts"]["reason"]) == ((422, "invalid"), "quote_country")


async def test_a_quote_whose_prices_changed_is_refused_with_the_difference(api: Api):
    user = api.user()
    quote = await quoted(user, items=ORDER["items"], country="GB")
    await set_price(api.services, "CHAI", 1100)
    body = {"quote_id": quote["id"], **TO}
    refused = await user.post("/v1/orders", body, key="k")
    assert code(refused) == (409, "quote_changed")
    assert refused.json()["facts"]["changes"] == [
        {"what": "unit_price", "line": 0, "sku": "CHAI", "before": 1000, "now": 1100},
        {"what": "total", "before": 2000, "now": 2200},
    ]
    await withdraw(api.services, "CHAI")
    gone = (await user.post("/v1/orders", body, key="k")).json()
    assert gone["facts"]["changes"] == [{"what": "not_for_sale", "skus": ["CHAI"]}]


async def test_a_quote_is_refused_where_rates_or_a_discount_are_others_by_now(api: Api):
    user = api.user()
    spring = await make(api.services, Discount.code("SPRING").percent(10))
    quote = await quoted(user, items=ORDER["items"], codes=["SPRING"], country="GB")
    assert (quote["discount"], quote["shipping"], quote["tax"], quote["total"]) == (200, 0, 0, 1800)
    body = {"quote_id": quote["id"], **TO}
    await rate(api, "shipping-rates", GB)
    await rate(api, "tax-rates", VAT)
    refused = await user.post("/v1/orders", body)
    assert (code(refused), [each["what"] for each in refused.json()["facts"]["changes"]]) == (
        (409, "quote_changed"),
        ["shipping", "tax", "total"],
    )
    await api.services.database["discounts"].update_one({"_id": spring["_id"]}, {"$set": {"active": False}})
    told = (await user.post("/v1/orders", body)).json()["facts"]["changes"]
    assert [each["what"] for each in told] == ["code", "discount", "shipping", "tax", "total"]
    assert (await user.get(f"/v1/checkout/quotes/{quote['id']}")).json()["state"] == "open"


async def test_a_quote_whose_prices_change_before_it_is_placed_is_rejected_with_the_difference(api: Api):
    user = api.user()
    quote = await quoted(user, items=ORDER["items"], country="GB")
    accepted = await user.post("/v1/orders", {"quote_id": quote["id"], **TO})
    await set_price(api.services, "CHAI", 900)
    order = await placed(api, user, accepted)
    assert (order["state"], order["rejection"]["code"]) == ("rejected", "quote_changed")
    assert order["rejection"]["detail"]["changes"][-1] == {"what": "total", "before": 2000, "now": 1800}
    assert await api.shop.levels("CHAI") == (50, 0)


async def test_a_quote_is_too_old_after_ten_minutes_and_forgotten_after_a_day(
    shop: Shop, clock: MovableClock
):
    await shop.stock(A=5)
    quotes, checkout = shop.services.quotes, shop.services.checkout
    quote = await quotes.make([{"sku": "A", "quantity": 1}], codes=(), country="GB", account_id="ada")
    clock.move(minutes=10)
    await set_price(shop.services, "A", 1)
    with pytest.raises(QuoteExpired) as refused:
        await checkout.order_quote(request("k"), quote["_id"])
    assert [each["what"] for each in refused.value.detail["changes"]] == ["unit_price", "total"]
    assert quotes.view(await quotes.get(quote["_id"], account_id="ada"))["state"] == "expired"
    assert await quotes.sweep() == 0
    clock.move(days=1)
    assert await quotes.sweep() == 1


async def test_a_quote_that_was_accepted_in_time_is_placed_late(shop: Shop, clock: MovableClock):
    await shop.stock(A=5)
    quote = await shop.services.quotes.make(
        [{"sku": "A", "quantity": 1}], codes=(), country="GB", account_id="ada"
    )
    accepted = await shop.services.checkout.order_quote(request("k"), quote["_id"])
    clock.move(hours=1)
    await shop.services.order_placing.settle(accepted.job_id)
    assert (await shop.order(accepted.job_id))["state"] == "reserved"


# -- orders of carts --


async def test_a_carts_order_empties_the_cart_once_and_a_repetition_answers_the_same(api: Api):
    user = api.user()
    await fill(user, CHAI=2, TOFU=1)
    first = await user.post("/v1/orders", CART, key="k")
    assert first.status_code == 202
    assert await in_cart(user) == {}
    await fill(user, CHAI=1)
    again = await user.post("/v1/orders", CART, key="k")
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    # What came since stays.
    assert await in_cart(user) == {"CHAI": 1}
    order = await placed(api, user, first)
    assert {line["sku"]: line["quantity"] for line in order["lines"]} == {"CHAI": 2, "TOFU": 1}
    other = await user.post("/v1/orders", ORDER, key="k")
    assert code(other) == (422, "idempotency_key_reused")
    version = {"cart": {"version": "x"}, **TO}
    assert code(await user.post("/v1/orders", version, key="k")) == (422, "idempotency_key_reused")


async def test_an_empty_cart_a_changed_one_and_a_changed_price_are_not_ordered(api: Api):
    user = api.user()
    assert code(await user.post("/v1/orders", CART)) == (409, "cart_empty")
    await fill(user, CHAI=2)
    seen = (await user.get("/v1/cart")).json()["version"]
    await fill(user, TOFU=1)
    changed = await user.post("/v1/orders", {"cart": {"version": seen}, **TO})
    assert code(changed) == (409, "cart_changed")
    await set_price(api.services, "TOFU", 1)
    dearer = await user.post("/v1/orders", CART)
    assert code(dearer) == (409, "cart_changed")
    (line,) = dearer.json()["facts"]["lines"]
    assert (line["sku"], line["seen_price"]["amount"], line["price"]["amount"]) == ("TOFU", 1000, 1)
    await withdraw(api.services, "TOFU")
    assert code(await user.post("/v1/orders", CART)) == (409, "not_for_sale")
    await user.delete("/v1/cart/items/TOFU")
    await send(user, "PUT", "/v1/cart/codes", {"codes": ["GHOST"]})
    assert code(await user.post("/v1/orders", CART)) == (409, "discount_refused")
    await send(user, "PUT", "/v1/cart/codes", {"codes": []})
    assert (await placed(api, user, await user.post("/v1/orders", CART)))["state"] == "reserved"


async def test_a_carts_order_whose_price_changes_before_it_is_placed_is_rejected(api: Api):
    user = api.user()
    await fill(user, CHAI=2)
    accepted = await user.post("/v1/orders", CART)
    await set_price(api.services, "CHAI", 1001)
    order = await placed(api, user, accepted)
    assert (order["state"], order["rejection"]["code"]) == ("rejected", "cart_changed")


async def test_twenty_orders_of_one_cart_at_once_are_one(api: Api):
    user = api.user()
    await fill(user, CHAI=2)
    answers = await asyncio.gather(*(user.post("/v1/orders", CART) for _ in range(20)))
    assert Counter(code_of(answer) for answer in answers) == {"accepted": 1, "cart_empty": 19}
    assert len((await user.get("/v1/jobs")).json()["jobs"]) == 1


async def test_one_key_twenty_times_at_once_is_one_order_of_the_cart(api: Api):
    user = api.user()
    await fill(user, CHAI=2)
    answers = await asyncio.gather(*(user.post("/v1/orders", CART, key="k") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len((await user.get("/v1/jobs")).json()["jobs"]) == 1


async def test_what_is_added_while_checking_out_is_ordered_or_stays_and_never_both(api: Api):
    user = api.user()
    await fill(user, TOFU=1)
    adding = [user.post("/v1/cart/items", {"sku": "TOFU", "quantity": 1}) for _ in range(8)]
    order, *added = await asyncio.gather(user.post("/v1/orders", CART), *adding)
    assert {answer.status_code for answer in added} == {200}
    bought = (await placed(api, user, order))["lines"][0]["quantity"]
    assert bought + (await in_cart(user)).get("TOFU", 0) == 9


async def test_a_cart_and_its_quote_are_not_both_ordered(api: Api):
    user = api.user()
    await fill(user, CHAI=2)
    quote = {"quote_id": (await quoted(user, cart={}, country="GB"))["id"], **TO}
    # What comes after the quote is not in it, and stays.
    await fill(user, CHAI=1, TOFU=1)
    answers = await asyncio.gather(user.post("/v1/orders", quote), user.post("/v1/orders", CART))
    assert 202 in {answer.status_code for answer in answers}
    bought = Counter[str]()
    for answer in answers:
        if answer.status_code == 202:
            order = await placed(api, user, answer)
            bought.update({line["sku"]: line["quantity"] for line in order["lines"]})
        else:
            assert code(answer) == (409, "cart_changed")
    assert bought + Counter(await in_cart(user)) == {"CHAI": 3, "TOFU": 1}


def code_of(answer: httpx.Response) -> str:
    return "accepted" if answer.status_code == 202 else str(answer.json()["code"])


def request(key: str, owner: str = "ada") -> OrderRequest:
    return OrderRequest(owner, ADDRESS, key, {"cart": {}})


@LABELS
async def test_an_order_whose_commit_went_unanswered_is_accepted_once(shop: Shop, label: str):
    await shop.stock(A=5)
    await shop.services.carts.add("account:ada", sku="A", quantity=1, key="k")
    with commit_whose_answer_is_lost(label):
        accepted = await shop.services.checkout.order_cart(request("k"), version=None)
    assert (await shop.work(accepted.job_id))["state"] == "succeeded"
    assert (await shop.services.carts.look("account:ada")).content.lines == ()
    with pytest.raises(CartEmpty):
        await shop.services.checkout.order_cart(request("other"), version=None)


async def test_two_processes_that_order_one_cart_make_one_order(shop: Shop, rewire: Callable[..., Services]):
    await shop.stock(A=5)
    await shop.services.carts.add("account:ada", sku="A", quantity=1, key="k")
    both = [shop.services.checkout, rewire().checkout]
    found = await asyncio.gather(
        *(both[n % 2].order_cart(request(f"k{n}"), version=None) for n in range(8)), return_exceptions=True
    )
    assert Counter(type(each).__name__ for each in found) == {"Accepted": 1, "CartEmpty": 7}
    assert await shop.services.database["jobs"].count_documents({}) == 1
