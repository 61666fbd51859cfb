"""Discounts over HTTP: who may, what is refused, and that past orders keep what they show."""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.settings import Settings
from tests.api import ORDER, Api, User, open_api
from tests.discounts import check_uses
from tests.unit.test_docs import FENCE, ROOT

SPRING = {
    "code": "Spring",
    "percent": 20,
    "on": [{"category": "Goods"}],
    "cap": {"amount": 500, "currency": "USD"},
    "limit": 3,
    "per_customer": 1,
    "stackable_with": ["LOYAL"],
}
HERE = "/v1/discounts"


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        yield api
        await check_uses(api.services)


@pytest.fixture
def staff(api: Api) -> User:
    return api.user("discounts:write")


async def made(staff: User, **said: Any) -> dict[str, Any]:
    answer = await staff.post(HERE, SPRING | said)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ordered(api: Api, buyer: User, *codes: str, quantity: int = 2) -> dict[str, Any]:
    """An order that a worker has settled, as its owner sees it."""
    body = ORDER | {"items": [{"sku": "CHAI", "quantity": quantity}]} | ({"codes": codes} if codes else {})
    accepted = await buyer.post("/v1/orders", body)
    assert accepted.status_code == 202, accepted.text
    await api.settle(accepted.json()["id"])
    found: dict[str, Any] = (await buyer.get(f"/v1/orders/{accepted.json()['id']}")).json()
    return found


# -- making --


async def test_a_discount_is_made_and_read_as_it_was_said(staff: User):
    answer = await staff.post(HERE, SPRING)
    spring = answer.json()
    assert answer.headers["location"] == f"{HERE}/{spring['id']}"
    assert (spring["code"], spring["name"], spring["kind"], spring["percent"]) == (
        "SPRING",
        "SPRING",
        "percent",
        20.0,
    )
    assert spring.items() >= {name: SPRING[name] for name in ("on", "cap", "limit", "stackable_with")}.items()
    assert (spring["fixed"], spring["buy_get"], spring["budget"]) == (None, None, None)
    read = await staff.get(f"{HERE}/{spring['id']}")
    assert (read.json(), read.headers["etag"]) == (spring, answer.headers["etag"])


async def test_one_key_makes_one_discount(staff: User):
    said = {"name": "Launch week", "free_shipping": True}
    answers = await asyncio.gather(*(staff.post(HERE, said, key="launch") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 9
    other = await staff.post(HERE, said | {"name": "Other"}, key="launch")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len((await staff.get(HERE)).json()["discounts"]) == 1


async def test_a_code_is_taken_in_upper_and_lower_case(staff: User):
    await made(staff)
    again = await staff.post(HERE, SPRING | {"code": "sPRING"})
    assert (again.status_code, again.json()["code"]) == (409, "code_taken")


async def test_a_discount_that_breaks_rules_names_them(staff: User):
    said = {"code": "A", "percent": 10, "fixed": {"amount": 5, "currency": "USD"}, "on": [{}]}
    refused = await staff.post(HERE, said)
    assert (refused.status_code, refused.json()["code"]) == (422, "discount_invalid")
    rules = {error["code"] for error in refused.json()["facts"]["errors"]}
    assert rules == {"two_kinds", "empty_scope"}


async def test_what_cannot_be_said_is_refused_by_its_field(staff: User, subtests: pytest.Subtests):
    cases: list[tuple[dict[str, Any], str]] = [
        ({"code": "NO SPACES"}, "code"),
        ({"code": "A" * 33}, "code"),
        ({"code": "\0"}, "code"),
        ({"name": " "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"percent": 101}, "percent"),
        ({"percent": 1.234}, "percent"),
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": True}, "limit"),
        ({"per_customer": 10**10}, "per_customer"),
        ({"cap": {"amount": -1, "currency": "USD"}}, "cap.amount"),
        ({"cap": {"amount": 1, "currency": "usd"}}, "cap.currency"),
        ({"starts_at": "2026-06-01T00:00:00"}, "starts_at"),
        ({"ends_at": "0001-01-01T00:00:00+14:00"}, "ends_at"),
        ({"ends_at": "9999-12-31T23:59:59-14:00"}, "ends_at"),
        ({"on": [{"categori": "x"}]}, "on.0.categori"),
        ({"on": [{"sku": "x"}] * 101}, "on"),
        ({"buy_get": {"buy": 0, "get": 1}}, "buy_get.buy"),
        ({"priority": 1001}, "priority"),
        ({"taken": 5}, "taken"),
    ]
    for said, field in cases:
        with subtests.test(said=str(said)[:80]):
            answer = await staff.post(HERE, SPRING | said)
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
            assert answer.json()["errors"][0]["field"] == f"body.{field}"


async def test_a_discount_needs_a_kind_and_an_automatic_one_a_name(staff: User):
    for said in ({"code": "A"}, {"percent": 5}, {"code": "A", "free_shipping": False}):
        answer = await staff.post(HERE, said)
        assert (answer.status_code, answer.json()["code"]) == (422, "discount_invalid")


# -- reading, editing, switching --


async def test_discounts_come_in_pages_newest_first_and_by_code_and_state(staff: User):
    codes = ["A", "B", "C"]
    ids = [(await made(staff, code=code))["id"] for code in codes]
    await staff.post(f"{HERE}/{ids[0]}/deactivate")
    first = (await staff.get(HERE, params={"limit": 2})).json()
    assert [each["code"] for each in first["discounts"]] == ["C", "B"]
    rest = (await staff.get(HERE, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert ([each["code"] for each in rest["discounts"]], rest["next_cursor"]) == (["A"], None)
    by_code = (await staff.get(HERE, params={"code": "b"})).json()["discounts"]
    active = (await staff.get(HERE, params={"active": "false"})).json()["discounts"]
    assert ([each["id"] for each in by_code], [each["code"] for each in active]) == ([ids[1]], ["A"])


async def test_an_edit_needs_the_tag_of_what_it_edits(staff: User):
    spring = await made(staff)
    where = f"{HERE}/{spring['id']}"
    tag = (await staff.get(where)).headers["etag"]
    edited = await staff.patch(where, {"percent": 25, "cap": None, "limit": 9}, tag=tag)
    assert (edited.status_code, edited.headers["etag"] != tag) == (200, True)
    assert (edited.json()["percent"], edited.json()["cap"], edited.json()["limit"]) == (25.0, None, 9)
    stale = await staff.patch(where, {"percent": 30}, tag=tag)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_revision")
    missing = await staff.patch(where, {"percent": 30})
    assert (missing.status_code, missing.json()["code"]) == (428, "if_match_missing")
    same = await staff.patch(where, {"percent": 25}, tag=edited.headers["etag"])
    assert same.headers["etag"] == edited.headers["etag"]


async def test_one_of_many_edits_of_one_tag_wins(staff: User):
    spring = await made(staff)
    where = f"{HERE}/{spring['id']}"
    tag = (await staff.get(where)).headers["etag"]
    edits = await asyncio.gather(*(staff.patch(where, {"percent": 30 + n}, tag=tag) for n in range(8)))
    assert sorted(edit.status_code for edit in edits) == [200] + [412] * 7


async def test_an_edit_keeps_the_rules(staff: User, subtests: pytest.Subtests):
    spring = await made(staff)
    where = f"{HERE}/{spring['id']}"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"fixed": {"amount": 5, "currency": "USD"}, "cap": None}, "two_kinds"),
        ({"min_spend": {"amount": 5, "currency": "EUR"}}, "two_currencies"),
        ({"per_customer": 4}, "per_customer_past_limit"),
        ({"stackable_with": ["spring"]}, "stacks_with_itself"),
    ]
    for edit, rule in cases:
        with subtests.test(rule=rule):
            refused = await staff.patch(where, edit, tag="*")
            assert refused.status_code == 422
            assert [error["code"] for error in refused.json()["facts"]["errors"]] == [rule]
    named = await staff.patch(where, {"code": "OTHER"}, tag="*")
    assert named.json()["errors"][0]["field"] == "body.code"


async def test_an_inactive_code_is_as_unknown_as_any_until_it_is_active_again(api: Api, staff: User):
    await api.shop.stock(CHAI=10)
    spring = await made(staff)
    for _ in range(2):
        assert (await staff.post(f"{HERE}/{spring['id']}/deactivate")).json()["active"] is False
    refused = await ordered(api, api.user(), "SPRING")
    assert refused["rejection"]["detail"]["refusals"] == [{"code": "SPRING", "reason": "unknown_code"}]
    assert (await staff.post(f"{HERE}/{spring['id']}/activate")).json()["active"] is True
    assert (await ordered(api, api.user(), "SPRING"))["state"] == "reserved"


async def test_an_edit_changes_nothing_of_past_orders(api: Api, staff: User):
    await api.shop.stock(CHAI=10)
    spring, buyer = await made(staff), api.user()
    before = await ordered(api, buyer, "SPRING")
    assert (before["discount"], before["total"]) == (400, 1600)
    await staff.patch(f"{HERE}/{spring['id']}", {"percent": 50, "name": "Renamed"}, tag="*")
    await staff.post(f"{HERE}/{spring['id']}/deactivate")
    assert (await buyer.get(f"/v1/orders/{before['id']}")).json() == before


# -- using, trying, counting --


async def test_the_usage_report_counts_by_state_and_customer(api: Api, staff: User):
    await api.shop.stock(CHAI=10)
    spring = await made(staff)
    buyers = [api.user() for _ in range(3)]
    orders = [await ordered(api, buyer, "spring") for buyer in buyers]
    await api.shop.pay(orders[0]["id"], owner=buyers[0].id)
    await api.services.orders.cancel(orders[1]["id"], owner=buyers[1].id)
    where = f"{HERE}/{spring['id']}/usage"
    usage = (await staff.get(where, params={"limit": 2})).json()
    one = {"uses": 1, "amounts": {"USD": 400}}
    assert [usage[state] for state in ("held", "committed", "released")] == [one, one, one]
    assert (usage["uses_left"], usage["budget"]) == (1, None)
    rest = (await staff.get(where, params={"limit": 2, "cursor": usage["next_cursor"]})).json()
    customers = {each["account_id"]: each for each in [*usage["customers"], *rest["customers"]]}
    assert (set(customers), rest["next_cursor"]) == ({buyer.id for buyer in buyers}, None)
    assert customers[buyers[0].id]["committed"] == one
    assert customers[buyers[1].id]["released"] == one
    assert customers[buyers[2].id]["held"] == one


async def test_a_preview_shows_what_would_be_taken_and_takes_no_use(api: Api, staff: User):
    await api.shop.stock(CHAI=10, TEA=10)
    spring = await made(staff)
    loyal = {"code": "LOYAL", "fixed": {"amount": 301, "currency": "USD"}}
    assert (await staff.post(HERE, loyal)).status_code == 201
    ask = {
        "items": [{"sku": "CHAI", "quantity": 3}, {"sku": "TEA", "quantity": 1}],
        "codes": ["loyal", "SPRING", "NOPE"],
        "shipping": {"amount": 700, "currency": "USD"},
    }
    answer = await api.user().post(f"{HERE}/preview", ask)
    assert answer.status_code == 200, answer.text
    preview = answer.json()
    assert (preview["subtotal"], preview["shipping"], preview["discount"], preview["total"]) == (
        4000,
        700,
        801,
        3899,
    )
    spring_off, loyal_off = preview["discounts"]
    assert [(each["line"], each["sku"], each["amount"]) for each in spring_off["by_line"]] == [
        (0, "CHAI", 375),
        (1, "TEA", 125),
    ]
    assert loyal_off["amount"] == 301
    assert preview["refusals"] == [{"code": "NOPE", "reason": "unknown_code"}]
    assert (await staff.get(f"{HERE}/{spring['id']}/usage")).json()["held"]["uses"] == 0


async def test_a_preview_of_the_own_cart_is_of_its_lines_and_codes(api: Api, staff: User):
    await api.shop.stock(CHAI=10)
    await made(staff)
    buyer = api.user()
    empty = await buyer.post(f"{HERE}/preview", {"cart": True})
    assert (empty.status_code, empty.json()["code"]) == (409, "cart_empty")
    assert (await buyer.post("/v1/cart/items", {"sku": "CHAI", "quantity": 2})).is_success
    plain = (await buyer.post(f"{HERE}/preview", {"cart": True})).json()
    tried = (await buyer.post(f"{HERE}/preview", {"cart": True, "codes": ["SPRING"]})).json()
    assert [(each["subtotal"], each["discount"]) for each in (plain, tried)] == [(2000, 0), (2000, 400)]
    both = {"cart": True, "items": [{"sku": "CHAI", "quantity": 1}]}
    for neither in (both, {}):
        assert (await buyer.post(f"{HERE}/preview", neither)).status_code == 422


async def test_a_preview_of_what_cannot_be_bought_says_why(api: Api):
    await api.shop.stock(CHAI=10)
    buyer = api.user()
    unknown = await buyer.post(f"{HERE}/preview", {"items": [{"sku": "NOPE", "quantity": 1}]})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_sku")
    many = await buyer.post(
        f"{HERE}/preview", {"items": [{"sku": "CHAI", "quantity": 1}], "codes": [f"C{n}" for n in range(11)]}
    )
    assert many.status_code == 422
    assert many.json()["errors"][0]["field"].startswith("body.codes")
    foreign = {"items": [{"sku": "CHAI", "quantity": 1}], "shipping": {"amount": 1, "currency": "EUR"}}
    mixed = await buyer.post(f"{HERE}/preview", foreign)
    assert (mixed.status_code, mixed.json()["code"]) == (422, "currency_mismatch")


async def test_staff_previews_as_a_customer_and_a_customer_only_as_herself(api: Api, staff: User):
    await api.shop.stock(CHAI=10)
    await made(staff, groups=["trade"])
    trader, buyer = api.user(groups=["trade"]), api.user()
    ask = {"items": [{"sku": "CHAI", "quantity": 1}], "codes": ["SPRING"], "account_id": trader.id}
    assert (await trader.post(f"{HERE}/preview", ask)).json()["discount"] == 200
    assert (await staff.post(f"{HERE}/preview", ask)).json()["discount"] == 200
    assert (await buyer.post(f"{HERE}/preview", ask)).status_code == 403
    refusals = (await buyer.post(f"{HERE}/preview", ask | {"account_id": buyer.id})).json()["refusals"]
    assert refusals == [{"code": "SPRING", "reason": "wrong_group"}]


async def test_an_order_has_at_most_ten_codes(api: Api):
    answer = await api.user().post("/v1/orders", ORDER | {"codes": [f"C{n}" for n in range(11)]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("body.codes")


# -- who may --


async def test_customers_neither_see_nor_change_discounts(api: Api, staff: User):
    spring = await made(staff)
    where, buyer = f"{HERE}/{spring['id']}", api.user()
    answers = [
        await buyer.get(HERE),
        await buyer.get(where),
        await buyer.get(f"{where}/usage"),
        await buyer.post(HERE, SPRING | {"code": "FREE", "percent": 100}),
        await buyer.patch(where, {"percent": 100}, tag="*"),
        await buyer.post(f"{where}/deactivate"),
        await buyer.post(f"{where}/activate"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 7
    nobody = await api.client.post(f"{HERE}/preview", json={"items": [{"sku": "CHAI", "quantity": 1}]})
    assert nobody.status_code == 401


async def test_what_is_not_there_is_404(staff: User):
    where = f"{HERE}/019a9d2e-7c1a-7b60-9d51-3f0c5f6a2b11"
    answers = [
        await staff.get(where),
        await staff.get(f"{where}/usage"),
        await staff.patch(where, {"percent": 5}, tag="*"),
        await staff.post(f"{where}/activate"),
        await staff.post(f"{where}/deactivate"),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (404, "discount_not_found")
    ] * 5


# -- the page --


async def test_the_requests_of_the_page_are_answered_as_it_says(api: Api, staff: User):
    page = (ROOT / "docs/discounts.md").read_text(encoding="utf-8").partition("## Over HTTP")[2]
    found = FENCE.findall(page)
    assert len(found) == 2 * page.count("curl -") > 10
    await api.shop.stock(**{"CHAI-1": 10})
    customer = api.user()
    await priced(api)
    known = {"API": "", "TOKEN": staff.token, "CUSTOMER": customer.token}
    for (_, request), (_, answer) in zip(found[::2], found[1::2], strict=True):
        text = re.sub(r"\$(\w+)", lambda name: known[name[1]], request.replace("\\\n", " "))
        sent = await api.client.request(**parsed(text))
        body = sent.json()
        assert sent.is_success, sent.text
        assert covers(body, json.loads(answer)), (request, body)
        if body.get("code") == "SPRING" and "id" in body:
            known["DISCOUNT"] = body["id"]
        if body.get("state") == "pending":
            await api.settle(body["id"])


async def priced(api: Api) -> None:
    """The catalogue of the page: a drink at 18.00."""
    changes = {"category": "Beverages", "price": {"amount": 1800, "currency": "USD"}}
    for collection in ("skus", "products"):
        await api.services.database[collection].update_many({}, {"$set": changes})


def parsed(command: str) -> dict[str, Any]:
    words = shlex.split(command)
    headers = dict(words[index + 1].split(": ", 1) for index, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1] if "-d" in words else None
    method = words[words.index("-X") + 1] if "-X" in words else "GET" if body is None else "POST"
    url = next(word for word in words if word.startswith("/v1"))
    return {"method": method, "url": url, "headers": headers, "content": body}


def covers(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there."""
    if isinstance(wanted, dict):
        return all(name in found and covers(found[name], value) for name, value in wanted.items())
    return bool(found == wanted)
