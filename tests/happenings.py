"""Events as tests need them: recorded without the work that makes them true."""

from collections.abc import Sequence
from typing import Any

from domain.bootstrap import Services
from domain.changes import Changes, Doc
from domain.events import registry
from domain.events.models import NewEvent
from domain.events.rules import SHOP
from domain.values import new_id


def example(name: str) -> dict[str, Any]:
    """The data of an event of the type."""
    (known,) = [each for each in registry.types() if each.name == name]
    return dict(known.example)


def paid(account_id: str, order_id: str | None = None) -> NewEvent:
    """An order that was paid."""
    ident = order_id or new_id()
    return NewEvent(account_id, "order.paid", ident, example("order.paid") | {"order_id": ident})


def held(account_id: str) -> NewEvent:
    """Something that no inbox shows by default."""
    ident = new_id()
    return NewEvent(account_id, "hold.held", ident, {"reservation_id": ident})


def back(sku: str) -> NewEvent:
    """Stock of the shop that is there again."""
    return NewEvent(SHOP, "stock.back", sku, example("stock.back") | {"sku": sku})


async def happen(services: Services, *new: NewEvent, tell: bool = True) -> Sequence[Doc]:
    """Records the events in one transaction; told and routed, unless told otherwise."""
    changes = Changes()
    cursors = await services.events.cursors([each.account_id for each in new])
    recorded = services.events.record(changes, new, cursors=cursors, at=services.clock())
    await changes.commit(services.database)
    if tell:
        services.events.publish(recorded)
        await services.events.drain()
    return recorded.events
