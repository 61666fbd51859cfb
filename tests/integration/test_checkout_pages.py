"""The pages on carts and checkout: their requests are answered as they say, in their order."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.settings import Settings
from domain.values import Money
from tests.api import Api, open_api
from tests.curl import follow, requests_of
from tests.factories import set_price

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("carts", "checkout")}


async def stock(api: Api) -> None:
    for sku, name, cents in (("CHAI-1", "Chai", 350), ("TOFU-1", "Tofu", 2325)):
        await api.services.inventory.introduce(sku=sku, name=name, price=Money(amount=cents), category="Food")
        await api.shop.adjust(sku, 10)


def remember(variables: dict[str, str], answer: httpx.Response) -> None:
    """What later requests name."""
    body: dict[str, Any] = answer.json()
    path = answer.request.url.path
    if "version" in body:
        variables["VERSION"] = body["version"]
    if path == "/v1/carts":
        variables["CART"] = body["token"]
    if path == "/v1/checkout/quote":
        variables["QUOTE"] = body["id"]
    if path == "/v1/orders" and answer.status_code == 202:
        variables["ORDER"] = body["id"]


@pytest.mark.parametrize("page", PAGES)
async def test_every_request_is_answered_as_the_page_says(settings: Settings, page: str):
    async with open_api(settings) as api:
        await stock(api)
        variables = {"TOKEN": api.user().token, "STAFF": api.user("catalog:write").token}

        async def prepare(command: str) -> None:
            if "seen_price" in command:
                await set_price(api.services, "CHAI-1", 390)

        async def go_on(answer: httpx.Response) -> None:
            remember(variables, answer)
            if answer.status_code == 202:
                await api.settle(answer.json()["id"])

        await follow(api.client, PAGES[page], variables, before=prepare, after=go_on)


@pytest.mark.parametrize("page", PAGES)
def test_every_request_is_an_example_with_an_answer(page: str):
    assert requests_of(PAGES[page]) > 10
