"""The pool `inventory`: one short function per command."""

from domain.bootstrap import Services
from domain.inventory.commands import Release, Reserve
from domain.jobs.models import Claimed
from domain.orders.commands import ExpireHolds
from workers.handles import Result, handles, settles


@settles(Reserve, pool="inventory")
async def reserve(services: Services, job_id: str) -> None:
    """Held or refused, with all reservations that arrive at the same time."""
    await services.reservation_placing.settle(job_id)


@handles(Release, pool="inventory")
async def release(services: Services, command: Release, job: Claimed) -> Result:
    """Given back."""
    return await services.reservations.release(command.reservation_id, owner=job.owner)


@handles(ExpireHolds, pool="inventory")
async def expire(services: Services, command: ExpireHolds, job: Claimed) -> Result:
    """Ended, those whose time is over."""
    del job
    return await services.orders.expire(command.hold_ids)
