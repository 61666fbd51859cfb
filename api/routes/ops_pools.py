"""Worker pools, for ops: what waits, how fast it is worked off, and how many workers it takes."""

from typing import Annotated

from fastapi import APIRouter, Depends

from api.deps import Caller, Requires
from api.openapi import problems
from api.schemas.ops_pools import HistoryView, MinuteView, PoolsView, PoolView
from domain.control.pool_forms import minute_form, pool_form

routes = APIRouter(prefix="/v1/ops/pools", tags=["ops"])

Reader = Annotated[Caller, Depends(Requires("ops:read"))]


@routes.get("", summary="All worker pools")
async def pools(caller: Reader) -> PoolsView:
    """Depth, age, rates, predicted drain and recommended workers of each pool, a few seconds old at most."""
    services = caller.services
    found = [PoolView.model_validate(pool_form(each)) for each in await services.pools.look()]
    return PoolsView(at=services.clock(), pools=found)


@routes.get("/{pool}", responses=problems(404), summary="One worker pool")
async def pool(caller: Reader, pool: str) -> PoolView:
    """As in the list, as of now: what scalers ask."""
    return PoolView.model_validate(pool_form(await caller.services.pools.look_at(pool)))


@routes.get("/{pool}/history", responses=problems(404), summary="A pool's last hour")
async def history(caller: Reader, pool: str) -> HistoryView:
    """What it did in each minute. The last one ended up to 75 s ago."""
    minutes = [
        MinuteView.model_validate(minute_form(each)) for each in await caller.services.pools.history(pool)
    ]
    return HistoryView(pool=pool, minutes=minutes)
