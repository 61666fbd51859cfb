"""The audit of the stock, for ops."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.body import JsonBody
from api.deps import Caller, Requires
from api.openapi import problems
from api.ops_acts import entry_of
from api.schemas.audit import AuditView, Repair
from domain.values import Sku

routes = APIRouter(prefix="/v1/ops/audit", tags=["inventory"])


@routes.get("", responses=problems(404), summary="Audit the stock")
async def audit(
    caller: Annotated[Caller, Depends(Requires("ops:read"))],
    sku: Annotated[Sku | None, Query(description="Of this SKU only.", examples=["CHAI-1"])] = None,
) -> AuditView:
    """What differs from movements and holds, and why. Changes nothing."""
    return AuditView.of(await caller.services.auditor.audit(sku))


@routes.post("/repairs", responses=problems(404), summary="Repair the stock")
async def repair(
    caller: Annotated[Caller, Depends(Requires("ops:write"))],
    wanted: Annotated[Repair, Depends(JsonBody(Repair))],
) -> AuditView:
    """Sets what differs to what it should be, and writes a movement of each. Sent twice, it finds nothing."""
    services = caller.services
    entry = entry_of(caller, "stock.repair", "stock", wanted.sku or "all", reason=wanted.reason)
    async with services.audit_log.acting(entry) as act:
        done = await services.auditor.repair(wanted.sku, actor=caller.account_id, reason=wanted.reason)
        act.after = {"repaired": sorted(done.repaired)}
    return AuditView.of(done)
