"""What a process has in hand once all is open."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from domain.accounts.service import Accounts
from domain.audit_log.service import AuditLog
from domain.carts.service import Carts
from domain.changes import Database
from domain.control.asking import Ping
from domain.control.desk import Control
from domain.control.pools import Pools
from domain.discounts.redemptions import Redemptions
from domain.discounts.service import Discounts
from domain.events.service import Events
from domain.inventory import reservations
from domain.inventory.auditor import Auditor
from domain.inventory.holds import Holds
from domain.inventory.locations import Locations
from domain.inventory.placing import Placing
from domain.inventory.reservations import Reservations
from domain.inventory.service import Inventory
from domain.jobs.aside import SetAside
from domain.jobs.desk import JobDesk
from domain.jobs.feeding import Feeder
from domain.jobs.meter import Meter
from domain.jobs.relay import Relay
from domain.jobs.running import JobRuns
from domain.jobs.service import Jobs
from domain.jobs.signals import JobSignals
from domain.media.desk import MediaDesk
from domain.notifications.fanout import FanOuts
from domain.notifications.inbox import Inbox
from domain.notifications.mail import Post
from domain.notifications.preferences import Preferences
from domain.notifications.subscriptions import Subscriptions
from domain.notifications.webhooks.service import Webhooks
from domain.orders.cart_views import CartViews
from domain.orders.checkout import Checkout
from domain.orders.desk import OrderDesk
from domain.orders.fulfilment import Fulfilment
from domain.orders.notices import Notices
from domain.orders.payments import OrderPayments
from domain.orders.placing import OrderFacts
from domain.orders.quotes import Quotes
from domain.orders.refunds import Refunds
from domain.orders.service import Orders
from domain.orders.tables import Tables
from domain.ports import (
    Cache,
    Connections,
    JobQueue,
    Leadership,
    Locks,
    Mailer,
    ObjectStore,
    PaymentProvider,
    PubSub,
    UploadStore,
    UrlSigner,
    WebhookSender,
)
from domain.products.exports import Exports
from domain.products.imports import Imports
from domain.products.search import Search
from domain.products.service import Products
from domain.products.transfers import Transfers
from domain.settings import Settings
from domain.values import Clock


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world of one process."""

    database: Database
    queue: JobQueue
    locks: Locks
    pubsub: PubSub
    cache: Cache
    leadership: Leadership
    provider: PaymentProvider
    objects: ObjectStore
    uploads: UploadStore
    signer: UrlSigner
    webhooks: WebhookSender
    #: None where no mail is written.
    mailer: Mailer | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """Every verb of the domain, ready to be called."""

    settings: Settings
    clock: Clock
    database: Database
    accounts: Accounts
    audit_log: AuditLog
    aside: SetAside
    auditor: Auditor
    control: Control
    discounts: Discounts
    redemptions: Redemptions
    events: Events
    exports: Exports
    fan_outs: FanOuts
    holds: Holds
    imports: Imports
    inbox: Inbox
    inventory: Inventory
    jobs: Jobs
    job_desk: JobDesk
    feeder: Feeder
    leadership: Leadership
    meter: Meter
    pools: Pools
    locations: Locations
    media: MediaDesk
    objects: ObjectStore
    order_payments: OrderPayments
    fulfilment: Fulfilment
    notices: Notices
    refunds: Refunds
    order_desk: OrderDesk
    order_placing: Placing[OrderFacts]
    orders: Orders
    post: Post
    preferences: Preferences
    products: Products
    pubsub: PubSub
    queue: JobQueue
    relay: Relay
    reservation_placing: Placing[reservations.Facts]
    reservations: Reservations
    runs: JobRuns
    search: Search
    signals: JobSignals
    subscriptions: Subscriptions
    transfers: Transfers
    tables: Tables
    carts: Carts
    cart_views: CartViews
    quotes: Quotes
    checkout: Checkout
    webhooks: Webhooks
    #: What `/readyz` asks, by the service's name: those without which orders stop or wait.
    pings: Mapping[str, Ping] = field(default_factory=dict)
    #: This process's connections, by the service's name.
    connections: Mapping[str, Callable[[], Connections]] = field(default_factory=dict)
    #: Seconds that somebody has waited for a connection to the store.
    store_wait: Callable[[], float] = lambda: 0.0

    async def drain(self) -> None:
        """Returns when every batch in hand is done."""
        await self.order_placing.drain()
        await self.reservation_placing.drain()
        await self.order_payments.drain()
        await self.holds.drain()
        await self.runs.drain()
        await self.aside.drain()
        await self.accounts.drain()
        await self.signals.drain()
        await self.webhooks.drain()
        # Events become jobs.
        await self.events.drain()
        await self.jobs.drain()
        await self.search.drain()
        await self.meter.drain()
