"""What is told of the ways by which events reach people and systems."""

from domain.events.registry import ACCOUNT, EITHER, ID, EventData, EventType, event


@event(
    "webhook.disabled",
    subject="endpoint",
    whose=EITHER,
    example={
        "endpoint_id": ID, "url": "https://shop.example/hooks", "failures": 20,
        "reason": "failing",
    },
)  # fmt: skip
class WebhookDisabled(EventData):
    """Nothing is sent to the endpoint any more, as deliveries kept failing, or it said that it is gone."""

    endpoint_id: str
    url: str
    failures: int
    reason: str


@event(
    "product.back",
    subject="SKU",
    whose=ACCOUNT,
    example={"sku": "CHAI-1", "name": "Chai", "event_id": ID},
)
class ProductBack(EventData):
    """What the account has asked to be told of is in stock again; `event_id` is the shop's `stock.back`."""

    sku: str
    name: str
    event_id: str


class WebhookTest(EventData):
    """Somebody wants to see an endpoint called. Sent to it alone, stored nowhere, with the `seq` 0."""

    endpoint_id: str
    url: str


#: Not among the types: it is told to nobody else.
TESTED = EventType(
    name="webhook.test",
    model=WebhookTest,
    subject="endpoint",
    whose=EITHER,
    example={"endpoint_id": ID, "url": "https://shop.example/hooks"},
    version=1,
)
