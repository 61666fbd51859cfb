"""What is stored: every model that is bound to the database."""

from domain.accounts.models import Account, ApiKey, Session, SigningKey
from domain.carts.models import StoredCart
from domain.discounts.models import DiscountCustomer, Redemption, StoredDiscount
from domain.events.models import Event, EventCursor, EventOutbox
from domain.inventory.models import Hold, Location, Movement, Stock, StockAudit
from domain.jobs.models import Job, LedgerMark
from domain.orders.models import Completion, Order, Payment
from domain.orders.quotes import Quote
from domain.orders.tables import CheckoutTable
from domain.products.models import PriceChange, Product, SkuRow
from domain.products.search_index import SearchChanges
from domain.products.transfer_models import RefusedRow, Transfer

MODELS = (
    Account, ApiKey, Session, SigningKey, Event, EventCursor, EventOutbox, Hold, Job, LedgerMark, Movement,
    Order, Payment, PriceChange, Product, SearchChanges, SkuRow, Stock, StockAudit, Location,
    RefusedRow, Transfer, DiscountCustomer, Redemption, StoredDiscount, CheckoutTable, StoredCart, Quote,
    Completion,
)  # fmt: skip
