"""The pool `orders`: one short function per command."""

from domain.bootstrap import Services
from domain.inventory.rules import units_by_sku
from domain.jobs.models import Claimed
from domain.orders.commands import CancelOrder, PaymentNotice, PayOrder, PlaceOrder, RefundOrder
from domain.orders.refunds import RefundRequest
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
    owner = None if command.by_staff else job.owner
    return await services.orders.cancel(command.order_id, owner=owner, by=job.owner, reason=command.reason)


@handles(RefundOrder, pool="orders")
async def refund(services: Services, command: RefundOrder, job: Claimed) -> Result:
    """Paid back once; the job's id is the refund's."""
    units = None if command.lines is None else units_by_sku(line.model_dump() for line in command.lines)
    request = RefundRequest(job.id, units, restock=command.restock, reason=command.reason, actor=job.owner)
    return await services.refunds.refund(command.order_id, request)


@handles(PaymentNotice, pool="orders")
async def notice(services: Services, command: PaymentNotice, job: Claimed) -> Result:
    """What the provider told, made true."""
    return await services.notices.handle(command, notice_id=job.id)
