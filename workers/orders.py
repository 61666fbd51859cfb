"""The pool `orders`: one short function per command."""

from domain.bootstrap import Services
from domain.jobs.models import Claimed
from domain.orders.commands import CancelOrder, PayOrder, PlaceOrder
from workers.handles import Result, handles, settles


@settles(PlaceOrder, pool="orders")
async def place(services: Services, job_id: str) -> None:
    """Reserved or rejected, with all orders that arrive at the same time."""
    await services.order_placing.settle(job_id)


@handles(PayOrder, pool="orders")
async def pay(services: Services, command: PayOrder, job: Claimed) -> Result:
    """Charged once; the job's id is the attempt's."""
    return await services.order_payments.pay(
        command.order_id, payment_id=job.id, source=command.source, owner=job.owner
    )


@handles(CancelOrder, pool="orders")
async def cancel(services: Services, command: CancelOrder, job: Claimed) -> Result:
    """Cancelled, and its stock given back."""
    return await services.orders.cancel(command.order_id, owner=job.owner)
