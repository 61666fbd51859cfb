"""What is stored: every model that is bound to the database."""

from domain.accounts.models import Account, ApiKey, Session, SigningKey
from domain.audit_log.models import AuditEntry
from domain.carts.models import StoredCart
from domain.control.models import AskedRun, Process, Switch, Timetable
from domain.discounts.models import DiscountCustomer, Redemption, StoredDiscount
from domain.events.models import Event, EventCursor, EventOutbox, EventTimes
from domain.inventory.models import Hold, Location, Movement, Stock, StockAudit
from domain.jobs.bulk_models import BulkRun
from domain.jobs.models import Job, LedgerMark
from domain.jobs.pool_models import PoolSlot, PoolTurn
from domain.media.models import MediaGarbage, MediaMark, MediaUsage, Medium
from domain.notifications.models import (
    FanOutProgress,
    ReadMarks,
    StoredPreferences,
    Subscriber,
    Subscription,
)
from domain.notifications.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookMark
from domain.orders.models import Completion, Order, Payment
from domain.orders.quotes import Quote
from domain.orders.tables import CheckoutTable
from domain.products.models import PriceChange, Product, SkuRow
from domain.products.search_index import SearchChanges
from domain.products.transfer_models import RefusedRow, Transfer

MODELS = (
    Account, ApiKey, Session, SigningKey, Event, EventCursor, EventOutbox, EventTimes, Hold, Job, LedgerMark,
    Movement, Order, Payment, PriceChange, Product, SearchChanges, SkuRow, Stock, StockAudit, Location,
    RefusedRow, Transfer, DiscountCustomer, Redemption, StoredDiscount, CheckoutTable, StoredCart, Quote,
    Completion, AuditEntry, BulkRun, PoolSlot, PoolTurn,
    MediaGarbage, MediaMark, MediaUsage, Medium, AskedRun, Process, Switch, Timetable,
    FanOutProgress, ReadMarks, StoredPreferences, Subscriber, Subscription,
    WebhookDelivery, WebhookEndpoint, WebhookMark,
)  # fmt: skip
