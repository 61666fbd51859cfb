"""The services of notifications, with what they may know of orders and products."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from domain.accounts.service import Accounts
from domain.bootstrap.services import Ports
from domain.changes import Doc
from domain.errors import UnknownSku
from domain.events.service import Events
from domain.jobs.service import Jobs
from domain.notifications.fanout import FanOuts, FanOutWay
from domain.notifications.inbox import Inbox
from domain.notifications.mail import MailWay, Post
from domain.notifications.preferences import Preferences
from domain.notifications.routing import Way
from domain.notifications.subscriptions import Subscriptions
from domain.orders.models import ORDERS
from domain.products.service import Products
from domain.settings import Settings
from domain.values import Clock


@dataclass(frozen=True, slots=True)
class Notifying:
    """Inboxes, mail and subscriptions, and the ways by which events come to them."""

    preferences: Preferences
    inbox: Inbox
    subscriptions: Subscriptions
    fan_outs: FanOuts
    post: Post
    ways: tuple[Way, ...]


def notifying(
    ports: Ports,
    settings: Settings,
    *,
    accounts: Accounts,
    events: Events,
    jobs: Jobs,
    products: Products,
    clock: Clock,
) -> Notifying:
    """Wired. Accounts tell through `events` from now on."""
    shared: dict[str, Any] = {"database": ports.database, "clock": clock}
    accounts.tell_through(events)
    preferences = Preferences(**shared)
    name_of = partial(_name_of, products)
    subscriptions = Subscriptions(name_of=name_of, **shared)
    return Notifying(
        preferences=preferences,
        inbox=Inbox(database=ports.database, events=events, preferences=preferences),
        subscriptions=subscriptions,
        fan_outs=FanOuts(events=events, jobs=jobs, locks=ports.locks, name_of=name_of, **shared),
        post=Post(
            directory=accounts.directory,
            preferences=preferences,
            mailer=ports.mailer,
            find_order=partial(_find_order, ports),
            settings=settings.mail,
            **shared,
        ),
        ways=(FanOutWay(subscriptions), MailWay(settings.mail, preferences)),
    )


async def _name_of(products: Products, topic: str, subject: str) -> str:
    """What the subject of a topic is called: all topics are about SKUs. Raises UnknownSku."""
    del topic
    facts = await products.facts([subject])
    if subject not in facts:
        raise UnknownSku(sku=subject)
    return facts[subject]["name"]


async def _find_order(ports: Ports, order_id: str) -> Doc | None:
    return await ports.database[ORDERS].find_one({"_id": order_id})
