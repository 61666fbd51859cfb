"""From a movement of stock over HTTP to a letter, by real processes."""

from collections.abc import Callable

from ops.fleet import Fleet
from tests.e2e.town import open_town
from tests.factories import eventually
from tests.smtp import HOST, serving


async def test_who_waits_for_a_thing_gets_a_letter_when_it_is_back(
    fleet_of: Callable[..., Fleet], environment: dict[str, str]
):
    async with serving() as box:
        mail = {
            "STOCKYARD_MAIL_HOST": HOST,
            "STOCKYARD_MAIL_PORT": str(box.port),
            "STOCKYARD_MAIL_SECURITY": "none",
            "STOCKYARD_MAIL_SENDER": "Tea & Co <shop@example.com>",
        }
        fleet = fleet_of(apis=1, pools={"notifications": 1}, schedulers=0, settings=mail)
        async with open_town(environment, fleet) as town:
            ada, sku = await town.customer(), await town.product(0)
            await ada.ask("PUT", f"/v1/subscriptions/stock.back/{sku}")
            await town.ops.post(f"/v1/inventory/{sku}/receipts", {"quantity": 40, "reason": "delivery"})
            await eventually(lambda: box.messages, within=20)
            inbox = await ada.get("/v1/inbox")
    (entry,) = inbox["entries"]
    (letter,) = box.messages
    assert (entry["type"], entry["subject"]) == ("product.back", sku)
    assert letter["Subject"] == entry["title"]
    assert letter["Message-ID"] == f"<{entry['id']}@example.com>"
