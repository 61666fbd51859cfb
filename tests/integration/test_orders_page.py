"""The page on orders: its requests are answered as it says, in their order."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
from standardwebhooks import Webhook

from domain.settings import Payments, Settings
from domain.values import Money
from tests.api import Api, open_api
from tests.curl import follow, parse, requests_of

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

        async def sign(command: str) -> None:
            if "SIGNATURE" in command:
                now = datetime.now(UTC)
                variables.update(TIME=str(int(now.timestamp())), SIGNATURE="")
                body = parse(command, {"API": ""} | variables).body or ""
                variables["SIGNATURE"] = Webhook(SECRET).sign("msg_1", now, body)

        async def go_on(answer: httpx.Response) -> None:
            if "id" in answer.json() and answer.request.url.path == "/v1/orders":
                variables["ORDER"] = answer.json()["id"]
            await work(api)

        await follow(api.client, PAGE, variables, before=sign, after=go_on)


def test_every_request_is_an_example_with_an_answer():
    assert requests_of(PAGE) > 10
