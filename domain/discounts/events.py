"""What is told of discounts."""

from domain.events.registry import ID, SHOPS, Amount, EventData, event


@event(
    "discount.exhausted",
    subject="discount",
    whose=SHOPS,
    example={
        "discount_id": ID, "code": "SPRING", "name": "Spring sale", "uses": 100, "amount": 36000,
        "currency": "USD",
    },
)  # fmt: skip
class DiscountExhausted(EventData):
    """The last use or the last of the budget was taken; once, until limit or budget are changed."""

    discount_id: str
    code: str | None
    name: str
    uses: int
    amount: Amount
    currency: str | None
