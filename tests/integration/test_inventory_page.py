"""The page on stock: its requests are answered as it says, and what it lists is the code's."""

import re
from pathlib import Path
from typing import Any

from domain.inventory.strategies import STRATEGIES, Offer
from domain.settings import Settings
from tests.api import open_api
from tests.curl import follow, requests_of

PAGE = (Path(__file__).parents[2] / "docs/inventory.md").read_text(encoding="utf-8")


async def test_every_request_is_answered_as_the_page_says(settings: Settings):
    async with open_api(settings) as api:
        await api.shop.stock(**{"CHAI-1": 0})
        user = api.user("inventory:read", "inventory:write", "ops:read", "ops:write")
        await follow(api.client, PAGE, {"TOKEN": user.token})
        await api.shop.check_books()


def test_every_request_is_an_example_with_an_answer():
    assert requests_of(PAGE) > 10


def test_every_strategy_is_listed():
    table = PAGE.partition("<!-- strategies -->\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(STRATEGIES)


def test_the_pages_strategy_is_a_strategy():
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    source = (
        "from collections.abc import Sequence\n"
        "from domain.inventory.strategies import Offer, strategy\n"
        + code
        + "found = scarcest('A', 1, offers)\n"
    )
    names: dict[str, Any] = {"offers": [Offer("main", 5), Offer("leith", 2)]}
    try:
        exec(compile(source, "strategies.py", "exec"), names)  # noqa: S102 - our own page
        assert names["found"] == "leith"
    finally:
        STRATEGIES.pop("scarcest", None)
