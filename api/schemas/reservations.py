"""Reservations on the wire. What comes in is the command itself, `Reserve`."""

from collections.abc import Mapping
from typing import Any, Self

from api.schemas.common import Shown, Timestamp
from domain.inventory.rules import whose_stock

#: Shown with `POST /v1/reservations`.
RESERVE = {
    "two products": {"value": {"items": [{"sku": "CHAI-1", "quantity": 2}, {"sku": "TOFU-1", "quantity": 1}]}}
}


class HeldLine(Shown):
    """Units held of one SKU, and where, once they are."""

    sku: str
    quantity: int
    location: str | None = None


class ReservationView(Shown):
    """Held stock; `pending` or `rejected` where no stock is held yet, or none could be."""

    id: str
    job_id: str
    state: str
    #: While the reservation is `pending`; `dead` where it will stay so until ops replay its job.
    job_state: str | None = None
    cause: str | None = None
    order_id: str | None = None
    lines: list[HeldLine]
    rejection: dict[str, Any] | None = None
    created_at: Timestamp
    expires_at: Timestamp | None = None
    ended_at: Timestamp | None = None

    @classmethod
    def of(cls, hold: Mapping[str, Any]) -> Self:
        """From what `Reservations.get` answers."""
        job = hold.get("job") or hold
        lines = hold.get("lines") or (job.get("payload") or {}).get("items") or []
        return cls(
            id=hold["_id"],
            job_id=hold["_id"],
            state=hold["state"],
            job_state=hold["job"]["state"] if "job" in hold else None,
            cause=hold.get("cause"),
            order_id=hold.get("order_id"),
            lines=[_line(line) for line in lines],
            rejection=job.get("error"),
            created_at=job["created_at"],
            expires_at=hold.get("expires_at"),
            ended_at=hold.get("ended_at"),
        )


def _line(line: Mapping[str, Any]) -> HeldLine:
    """From a hold's line, or from an item of what was asked for."""
    location = whose_stock(line["stock_id"])[1] if "stock_id" in line else None
    return HeldLine(sku=line["sku"], quantity=line["quantity"], location=location)
