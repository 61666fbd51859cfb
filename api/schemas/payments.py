"""What payment providers send."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import ID, TIME, Shown
from domain.orders.commands import PaymentNotice
from domain.values import Currency, Text

#: Of ids that are a provider's: what is in them is its own business.
Reference = Annotated[Text, Field(max_length=100)]


class Told(BaseModel):
    """A provider's body: it may tell more than we read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class PaymentFacts(Told):
    """The payment that it is about. Amounts are minor units."""

    payment_id: Reference
    order_id: Reference | None = None
    amount: Annotated[int, Field(strict=True, ge=0, le=10**15)] | None = None
    currency: Currency | None = None
    refund_id: Reference | None = None
    reason: Annotated[Text, Field(max_length=200)] | None = None


class PaymentEvent(Told):
    """One event by the Standard Webhooks form. Types that are not known are taken and left."""

    type: Reference
    data: PaymentFacts

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "payment.captured",
                    "timestamp": TIME,
                    "data": {"payment_id": ID, "order_id": ID, "amount": 3600, "currency": "USD"},
                }
            ]
        }
    )

    def notice(self, provider: str) -> PaymentNotice | None:
        """The command that handles it; None for a type that is not known."""
        if self.type not in PaymentNotice.model_fields["type"].annotation.__args__:  # type: ignore[union-attr]
            return None
        return PaymentNotice.model_validate(
            {"provider": provider, "type": self.type, **self.data.model_dump()}
        )


class Taken(Shown):
    """Whether there is something to do for it."""

    taken: bool

    model_config = ConfigDict(json_schema_extra={"examples": [{"taken": True}]})
