"""The page on orders: its requests are answered as it says, in their order."""

import json
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks import Webhook

from domain.settings import Payments, Settings
from domain.values import Money
from tests.api import Api, open_api
from tests.curl import EXAMPLE, parse, send, shows

PAGE = (Path(__file__).parents[2] / "docs/orders.md").read_text(encoding="utf-8")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def work(api: Api) -> None:
    """Every job that waits, as a worker would run it."""
    async for job in api.services.database["jobs"].find({"state": "queued"}).sort("_id"):
        await api.shop.work(job["_id"])


async def test_every_request_is_answered_as_the_page_says(settings: Settings):
    payments = Payments(webhook_secrets=[SECRET])  # type: ignore[list-item]
    async with open_api(settings.model_copy(update={"payments": payments})) as api:
        product = {"sku": "CHAI-1", "name": "Chai", "category": "Beverages"}
        await api.services.inventory.introduce(**product, price=Money(amount=350))
        await api.shop.adjust("CHAI-1", 10)
        variables = {"TOKEN": api.user().token, "STAFF": api.user("orders:manage", role="staff").token}
        for status, command, shown in EXAMPLE.findall(PAGE):
            if "SIGNATURE" in command:
                now = datetime.now(UTC)
                variables |= {"TIME": str(int(now.timestamp())), "SIGNATURE": ""}
                body = parse(command, {"API": ""} | variables).body or ""
                variables["SIGNATURE"] = Webhook(SECRET).sign("msg_1", now, body)
            answer = await send(api.client, command, variables)
            assert answer.status_code == int(status), (command, answer.text)
            if "items" in command:
                variables["ORDER"] = answer.json()["id"]
            if shown:
                assert shows(json.loads(shown), answer.json()), (command, answer.json())
            await work(api)


def test_every_request_is_an_example_with_an_answer():
    assert len(EXAMPLE.findall(PAGE)) == PAGE.count("curl -") > 10
