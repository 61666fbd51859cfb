"""Audits of the stock on the wire."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field

from api.schemas.common import Shown, Timestamp, Wire
from api.schemas.inventory import MovementView, Reason
from domain.inventory.auditor import Audit
from domain.inventory.evidence import Finding
from domain.inventory.rules import whose_stock
from domain.values import Sku


class Repair(Wire):
    """What to repair, and why."""

    reason: Reason
    #: All of them, unless one is named.
    sku: Sku | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"sku": "CHAI-1", "reason": "ticket 4711"}]})


class HoldEvidence(Shown):
    """A hold that keeps units of the stock."""

    id: str
    order_id: str | None
    quantity: int
    created_at: Timestamp
    expires_at: Timestamp


class FindingView(Shown):
    """A stock that is not what movements and holds make it."""

    sku: str
    location: str
    available: int
    reserved: int
    held: Annotated[int, Field(description="What the holds keep: `reserved` should be as much.")]
    moved: Annotated[int, Field(description="The sum of the movements: `available` plus `reserved`.")]
    right_at: Timestamp | None = Field(description="When an audit last found it right.")
    because: list[str]
    holds: list[HoldEvidence]
    movements: list[MovementView]
    repaired: bool

    @classmethod
    def of(cls, finding: Finding, *, repaired: bool) -> Self:
        """From what the auditor found."""
        sku, location = whose_stock(finding.stock_id)
        figures = finding.figures
        return cls(
            sku=sku,
            location=location,
            available=figures.available,
            reserved=figures.reserved,
            held=figures.held,
            moved=figures.moved,
            right_at=finding.right_at,
            because=list(finding.because),
            holds=[_hold(each, finding.stock_id) for each in finding.holds],
            movements=[MovementView.of(each) for each in finding.movements],
            repaired=repaired,
        )


class AuditView(Shown):
    """What an audit found: nothing, while all is well."""

    at: Timestamp
    stocks: int
    findings: list[FindingView]

    @classmethod
    def of(cls, audit: Audit) -> Self:
        """From an audit, or a repair."""
        found = [FindingView.of(each, repaired=each.stock_id in audit.repaired) for each in audit.findings]
        return cls(at=audit.at, stocks=audit.stocks, findings=found)


def _hold(hold: dict[str, Any], stock_id: str) -> HoldEvidence:
    return HoldEvidence(
        id=hold["_id"],
        order_id=hold["order_id"],
        quantity=sum(line["quantity"] for line in hold["lines"] if line["stock_id"] == stock_id),
        created_at=hold["created_at"],
        expires_at=hold["expires_at"],
    )
