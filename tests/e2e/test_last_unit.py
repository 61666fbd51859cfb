"""Never oversold (P3), at its sharpest."""

import asyncio
from collections import Counter

from tests.factories import Shop


async def test_last_unit_sells_once(shop: Shop) -> None:
    await shop.stock(LAST=1)
    orders = await asyncio.gather(*(shop.place(owner=f"buyer{n}", LAST=1) for n in range(200)))
    assert Counter(order["state"] for order in orders) == {"reserved": 1, "rejected": 199}
    assert await shop.levels("LAST") == (0, 1)
    await shop.check_books()
