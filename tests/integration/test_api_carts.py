"""Carts over HTTP: of accounts and of tokens; two tabs, two people, and what time does to them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from domain.bootstrap import Services
from domain.errors import CartNotFound
from domain.settings import Settings
from domain.values import new_id
from tests.api import Api, User, open_api
from tests.conftest import MovableClock
from tests.factories import Shop, set_price, withdraw
from tests.transactions import LABELS, commit_whose_answer_is_lost

CHAI = {"sku": "CHAI", "quantity": 2}
WRONG_TOKENS = ("x", "x" * 43, "../cart", "é", "x" * 200)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(settings) as api:
        await api.shop.stock(CHAI=5, TOFU=50, TEA=0)
        yield api


class Tab:
    """A browser's tab: with an account's token or a cart's, or with neither."""

    def __init__(self, api: Api, user: User | None = None, token: str | None = None) -> None:
        self._client = api.client
        self.headers = user.headers() if user else {}
        self.headers |= {"Cart-Token": token} if token else {}

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self._client.request(method, path, json=body, headers=self.headers | headers)

    async def add(self, sku: str, quantity: int, key: str | None = None) -> httpx.Response:
        body = {"sku": sku, "quantity": quantity}
        return await self.send("POST", "/v1/cart/items", body, **{"Idempotency-Key": key or new_id()})

    async def cart(self) -> dict[str, Any]:
        answer = await self.send("GET", "/v1/cart")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def quantities(self) -> dict[str, int]:
        return {line["sku"]: line["quantity"] for line in (await self.cart())["lines"]}


async def anonymous(api: Api) -> Tab:
    answer = await api.client.post("/v1/carts")
    assert answer.status_code == 201
    return Tab(api, token=answer.json()["token"])


def token_of(tab: Tab) -> dict[str, str]:
    return {"token": tab.headers["Cart-Token"]}


async def test_a_cart_is_filled_changed_and_emptied(api: Api):
    tab = Tab(api, api.user())
    empty = await tab.cart()
    assert (empty["lines"], empty["totals"], empty["codes"]) == ([], None, [])
    added = (await tab.add("CHAI", 2)).json()
    assert added["lines"] == [
        {
            "sku": "CHAI", "name": "CHAI", "quantity": 2, "price": {"amount": 1000, "currency": "USD"},
            "seen_price": {"amount": 1000, "currency": "USD"}, "amount": 2000, "problems": [],
        }
    ]  # fmt: skip
    assert (added["totals"]["net"], added["totals"]["total"]) == (2000, 2000)
    await tab.add("TOFU", 1)
    assert (await tab.send("PUT", "/v1/cart/items/CHAI", {"quantity": 3})).status_code == 200
    assert await tab.quantities() == {"CHAI": 3, "TOFU": 1}
    for _ in range(2):
        assert (await tab.send("DELETE", "/v1/cart/items/CHAI")).status_code == 200
    assert await tab.quantities() == {"TOFU": 1}
    cleared = await tab.send("DELETE", "/v1/cart")
    assert (cleared.status_code, cleared.json()["lines"]) == (200, [])


async def test_one_addition_counts_once_however_often_it_is_sent(api: Api):
    tab = Tab(api, api.user())
    answers = await asyncio.gather(*(tab.add("CHAI", 2, key="once") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert await tab.quantities() == {"CHAI": 2}
    other = await tab.add("CHAI", 3, key="once")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_two_tabs_that_add_at_once_both_count(api: Api):
    user = api.user()
    tabs = [Tab(api, user), Tab(api, user)]
    answers = await asyncio.gather(*(tabs[n % 2].add("TOFU", 1) for n in range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert await tabs[0].quantities() == {"TOFU": 16}


async def test_an_edit_of_a_cart_that_another_tab_has_changed_is_refused(api: Api):
    user = api.user()
    tab = Tab(api, user)
    seen = (await tab.add("CHAI", 1)).headers["etag"]
    assert (await tab.send("GET", "/v1/cart")).headers["etag"] == seen
    await Tab(api, user).add("TOFU", 1)
    for method, path, body in (
        ("PUT", "/v1/cart/items/CHAI", {"quantity": 9}),
        ("DELETE", "/v1/cart/items/CHAI", None),
        ("DELETE", "/v1/cart", None),
        ("PUT", "/v1/cart/codes", {"codes": ["A"]}),
    ):
        stale = await tab.send(method, path, body, **{"If-Match": seen})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale_revision")
    assert await tab.quantities() == {"CHAI": 1, "TOFU": 1}
    latest = (await tab.send("GET", "/v1/cart")).headers["etag"]
    assert (await tab.send("DELETE", "/v1/cart", **{"If-Match": latest})).status_code == 200


async def test_what_cannot_be_added_is_refused(api: Api, subtests: pytest.Subtests):
    tab = Tab(api, api.user())
    for body, field in (
        ({"sku": "CHAI"}, "body.quantity"),
        ({"sku": "CHAI", "quantity": 0}, "body.quantity"),
        ({"sku": "CHAI", "quantity": 1.5}, "body.quantity"),
        ({"sku": "a b", "quantity": 1}, "body.sku"),
        ({"sku": {"$ne": ""}, "quantity": 1}, "body.sku"),
        (CHAI | {"price": 1}, "body.price"),
    ):
        with subtests.test(body=str(body)):
            answer = await tab.send("POST", "/v1/cart/items", body, **{"Idempotency-Key": "k"})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    unknown = await tab.add("GHOST", 1)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_sku")
    much = await tab.add("CHAI", 10_001)
    assert (much.status_code, much.json()["facts"]["limit"]) == (422, "quantity")
    absent = await tab.send("PUT", "/v1/cart/items/TOFU", {"quantity": 1})
    assert (absent.status_code, absent.json()["code"]) == (404, "not_found")
    keyless = await tab.send("POST", "/v1/cart/items", CHAI)
    assert (keyless.status_code, keyless.json()["code"]) == (400, "idempotency_key_missing")
    tag = await tab.send("DELETE", "/v1/cart", **{"If-Match": "nonsense"})
    assert (tag.status_code, tag.json()["code"]) == (400, "if_match_invalid")


async def test_a_cart_has_a_most_of_lines(settings: Settings):
    few = settings.carts.model_copy(update={"max_lines": 2})
    async with open_api(settings.model_copy(update={"carts": few})) as api:
        await api.shop.stock(A=1, B=1, C=1)
        tab = Tab(api, api.user())
        assert [(await tab.add(sku, 1)).status_code for sku in "ABC"] == [200, 200, 422]
        other = await anonymous(api)
        await other.add("C", 1)
        await other.add("A", 1)
        merged = (await tab.send("POST", "/v1/cart/merge", token_of(other))).json()
        assert merged["left_out"] == [{"sku": "C", "quantity": 1}]
        assert await tab.quantities() == {"A": 2, "B": 1}


async def test_a_changed_price_is_flagged_until_it_is_taken_note_of(api: Api):
    tab = Tab(api, api.user())
    await tab.add("CHAI", 2)
    await set_price(api.services, "CHAI", 1200)
    line = (await tab.cart())["lines"][0]
    assert (line["problems"], line["price"]["amount"], line["seen_price"]["amount"]) == (
        ["price_changed"], 1200, 1000,
    )  # fmt: skip
    # More of it does not hide the change.
    assert (await tab.add("CHAI", 1)).json()["lines"][0]["problems"] == ["price_changed"]
    wrong = {"quantity": 3, "seen_price": {"amount": 1100, "currency": "USD"}}
    refused = await tab.send("PUT", "/v1/cart/items/CHAI", wrong)
    assert (refused.status_code, refused.json()["code"]) == (409, "cart_changed")
    assert refused.json()["facts"]["lines"][0]["price"] == {"amount": 1200, "currency": "USD"}
    right = {"quantity": 3, "seen_price": {"amount": 1200, "currency": "USD"}}
    known = (await tab.send("PUT", "/v1/cart/items/CHAI", right)).json()
    assert (known["lines"][0]["problems"], known["totals"]["total"]) == ([], 3600)


async def test_what_is_no_longer_for_sale_is_flagged_and_not_in_the_totals(api: Api):
    tab = Tab(api, api.user())
    await tab.add("CHAI", 2)
    await tab.add("TOFU", 1)
    await withdraw(api.services, "CHAI")
    cart = await tab.cart()
    assert [(line["problems"], line["price"]) for line in cart["lines"]] == [
        (["not_for_sale"], None),
        ([], {"amount": 1000, "currency": "USD"}),
    ]
    assert cart["totals"]["total"] == 1000
    assert (await tab.add("CHAI", 1)).json()["code"] == "not_for_sale"


async def test_stock_is_hinted_at_and_never_counted(api: Api):
    tab = Tab(api, api.user())
    for sku, quantity in (("CHAI", 6), ("TEA", 1), ("TOFU", 1)):
        await tab.add(sku, quantity)
    cart = await tab.cart()
    assert [line["problems"] for line in cart["lines"]] == [["short"], ["out_of_stock"], []]


async def test_codes_are_kept_and_refused_ones_say_why(api: Api):
    tab = Tab(api, api.user())
    await tab.add("CHAI", 1)
    answer = await tab.send("PUT", "/v1/cart/codes", {"codes": ["spring", "SPRING"]})
    assert answer.json()["codes"] == ["SPRING"]
    assert answer.json()["totals"]["refusals"] == [{"code": "SPRING", "reason": "unknown_code"}]
    assert (await tab.send("PUT", "/v1/cart/codes", {"codes": []})).json()["codes"] == []
    bad = await tab.send("PUT", "/v1/cart/codes", {"codes": ["a b"]})
    assert bad.status_code == 422
    many = await tab.send("PUT", "/v1/cart/codes", {"codes": [f"C{n}" for n in range(11)]})
    assert many.status_code == 422


# -- whose cart it is --


async def test_a_stranger_shops_with_a_token_of_which_the_store_has_only_the_hash(api: Api):
    tab = await anonymous(api)
    await tab.add("CHAI", 2)
    assert await tab.quantities() == {"CHAI": 2}
    rows = await api.services.database["carts"].find().to_list()
    assert tab.headers["Cart-Token"] not in str(rows)


async def test_nobody_reads_or_changes_a_cart_without_its_token(api: Api, subtests: pytest.Subtests):
    tab = await anonymous(api)
    await tab.add("CHAI", 2)
    for token in WRONG_TOKENS:
        with subtests.test(token=token[:50]):
            forged = [(b"cart-token", token.encode())]
            answer = await api.client.get("/v1/cart", headers=forged)
            assert answer.status_code in {404, 422}
            assert "CHAI" not in answer.text
    for method, path in (("GET", "/v1/cart"), ("DELETE", "/v1/cart"), ("DELETE", "/v1/cart/items/CHAI")):
        assert (await Tab(api).send(method, path)).status_code == 401
    reader = Tab(api, api.user(scopes=frozenset({"orders:read"})))
    assert (await reader.send("GET", "/v1/cart")).status_code == 403
    # An account's credentials go before a token, and a wrong one is not passed over.
    own = Tab(api, api.user(), tab.headers["Cart-Token"])
    assert await own.quantities() == {}
    assert (await tab.send("GET", "/v1/cart", Authorization="Bearer x")).status_code == 401
    assert await Tab(api, api.user()).quantities() == {}
    assert await tab.quantities() == {"CHAI": 2}


async def test_a_merge_adds_up_once_and_the_token_is_done_for(api: Api):
    stranger, member = await anonymous(api), Tab(api, api.user())
    await stranger.add("CHAI", 2)
    await stranger.add("TOFU", 1)
    await stranger.send("PUT", "/v1/cart/codes", {"codes": ["SPRING"]})
    await member.add("CHAI", 1)
    answers = await asyncio.gather(
        *(member.send("POST", "/v1/cart/merge", token_of(stranger)) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert await member.quantities() == {"CHAI": 3, "TOFU": 1}
    assert (await member.cart())["codes"] == ["SPRING"]
    assert (await stranger.send("GET", "/v1/cart")).status_code == 404
    assert (await stranger.add("CHAI", 1)).status_code == 404
    other = await Tab(api, api.user()).send("POST", "/v1/cart/merge", token_of(stranger))
    assert (other.status_code, other.json()["code"]) == (404, "cart_not_found")


async def test_of_two_accounts_that_merge_one_cart_one_gets_it(api: Api):
    stranger = await anonymous(api)
    await stranger.add("CHAI", 2)
    tabs = [Tab(api, api.user()) for _ in range(4)]
    answers = await asyncio.gather(*(tab.send("POST", "/v1/cart/merge", token_of(stranger)) for tab in tabs))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
    assert sorted([len(await tab.quantities()) for tab in tabs]) == [0, 0, 0, 1]


async def test_a_merge_while_the_stranger_adds_loses_nothing(api: Api):
    stranger, member = await anonymous(api), Tab(api, api.user())
    await stranger.add("TOFU", 1)
    additions = [stranger.add("TOFU", 1) for _ in range(6)]
    merge, *added = await asyncio.gather(
        member.send("POST", "/v1/cart/merge", token_of(stranger)), *additions
    )
    assert merge.status_code == 200
    counted = sum(answer.status_code == 200 for answer in added)
    assert {answer.status_code for answer in added} <= {200, 404}
    assert await member.quantities() == {"TOFU": 1 + counted}


async def test_a_token_that_is_none_merges_nothing(api: Api, subtests: pytest.Subtests):
    member = Tab(api, api.user())
    for token in ("", "x" * 101, 1, None):
        with subtests.test(token=str(token)[:20]):
            assert (await member.send("POST", "/v1/cart/merge", {"token": token})).status_code == 422
    for token in ("x", "x" * 43):
        assert (await member.send("POST", "/v1/cart/merge", {"token": token})).status_code == 404
    assert (await Tab(api).send("POST", "/v1/cart/merge", {"token": "x"})).status_code == 401


async def test_one_address_begins_so_many_carts_a_minute(settings: Settings):
    few = settings.carts.model_copy(update={"new_per_minute": 2})
    async with open_api(settings.model_copy(update={"carts": few})) as api:
        answers = [await api.client.post("/v1/carts") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert int(answers[2].headers["retry-after"]) >= 1


# -- time and faults --


async def test_an_expired_cart_is_gone_at_once_and_deleted_by_the_sweep(shop: Shop, clock: MovableClock):
    carts = shop.services.carts
    await shop.stock(CHAI=5)
    token, _ = await carts.create_anonymous()
    for cart_id in ("account:ada", carts.of_token(token)):
        await carts.add(cart_id, sku="CHAI", quantity=1, key="k")
    await carts.add("account:bob", sku="CHAI", quantity=1, key="k")
    clock.move(days=29)
    await carts.add("account:bob", sku="CHAI", quantity=1, key="later")
    assert await carts.sweep() == 0
    clock.move(days=1)
    assert (await carts.look("account:ada")).content.lines == ()
    with pytest.raises(CartNotFound):
        await carts.look(carts.of_token(token))
    # What is added from now on begins anew, and is not swept.
    await carts.add("account:ada", sku="CHAI", quantity=7, key="k")
    assert await carts.sweep() == 1
    assert [(await carts.look(f"account:{who}")).content.lines[0].quantity for who in ("ada", "bob")] == [
        7,
        2,
    ]


async def test_a_cart_that_stays_empty_is_kept_for_a_day(shop: Shop, clock: MovableClock):
    carts = shop.services.carts
    await carts.create_anonymous()
    clock.move(hours=25)
    assert await carts.sweep() == 1
    assert await shop.services.database["carts"].count_documents({}) == 0


@LABELS
async def test_a_change_whose_commit_went_unanswered_is_made_once(shop: Shop, label: str):
    carts = shop.services.carts
    await shop.stock(CHAI=5)
    with commit_whose_answer_is_lost(label):
        first = await carts.add("account:ada", sku="CHAI", quantity=2, key="k")
    assert first.content.lines[0].quantity == 2
    with commit_whose_answer_is_lost(label):
        # Its own change is no stranger's.
        emptied = await carts.clear("account:ada", expected={first.revision})
    assert emptied.content.lines == ()
    assert (await carts.look("account:ada")).revision == emptied.revision


@LABELS
async def test_a_merge_whose_commit_went_unanswered_is_made_once(shop: Shop, label: str):
    carts = shop.services.carts
    await shop.stock(CHAI=5)
    token, _ = await carts.create_anonymous()
    for cart_id in ("account:ada", carts.of_token(token)):
        await carts.add(cart_id, sku="CHAI", quantity=9_000, key="k")
    with commit_whose_answer_is_lost(label):
        merged = await carts.merge(token, account_id="ada")
    assert merged.cart.content.lines[0].quantity == 10_000
    assert merged.left_out == [{"sku": "CHAI", "quantity": 8_000}]


async def test_two_processes_that_change_one_cart_lose_nothing(shop: Shop, rewire: Callable[..., Services]):
    await shop.stock(CHAI=5)
    both = [shop.services.carts, rewire().carts]
    await asyncio.gather(
        *(both[n % 2].add("account:ada", sku="CHAI", quantity=1, key=f"k{n}") for n in range(12))
    )
    assert (await both[0].look("account:ada")).content.lines[0].quantity == 12
