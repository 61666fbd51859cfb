"""Products, stock, carts, orders and payments."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from domain.settings.forms import config, duration, webhook_secret
from domain.values import Duration


class Orders(BaseSettings):
    """Orders and holds."""

    model_config = config("ORDERS")
    #: How long a reserved order or a reservation holds its stock.
    hold_time: Duration = duration("15m")
    max_lines: int = Field(default=100, ge=1, le=1000)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    #: A fulfilled order completes by itself after this.
    complete_after: Duration = duration("14d")


class Inventory(BaseSettings):
    """Stock and locations."""

    model_config = config("INVENTORY")
    #: How a location is chosen for a line: `by_priority`, `most_left`, or one that was registered.
    allocation: str = "by_priority"
    #: How long a process may go by the locations that it knows.
    locations_for: Duration = duration("2s")
    #: The threshold of new products: their stock is low while no more units are available.
    low_at: int = Field(default=5, ge=0, le=1_000_000)
    #: How often all stock is audited.
    audit_every: Duration = Field(default=timedelta(hours=1), ge=timedelta(seconds=1))


class Carts(BaseSettings):
    """Carts."""

    model_config = config("CARTS")
    #: How long a cart is kept that nobody changes.
    ttl: Duration = duration("30d")
    max_lines: int = Field(default=100, ge=1, le=1000)
    #: Units of one line.
    max_quantity: int = Field(default=10_000, ge=1, le=1_000_000)
    #: Anonymous carts that one address may begin in a minute.
    new_per_minute: int = Field(default=60, ge=1)


class Checkout(BaseSettings):
    """Quotes, and the tables of shipping and tax rates."""

    model_config = config("CHECKOUT")
    #: How long a quote can be ordered.
    quote_ttl: Duration = duration("10m")
    #: How long a process calculates with the rates that it has read.
    rates_fresh_for: Duration = duration("3s")


class Catalog(BaseSettings):
    """Files of imports and exports."""

    model_config = config("CATALOG")
    max_import_bytes: int = Field(default=64 * 1024**2, ge=1024)
    #: Rows that one import may refuse before it is given up.
    max_refused: int = Field(default=10_000, ge=0)
    #: How long files and reports are kept once the import or export has ended.
    keep_files: Duration = duration("7d")


class Payments(BaseSettings):
    """The payment provider."""

    model_config = config("PAYMENTS")
    #: Who sends webhooks: the last part of their path.
    provider: Literal["sandbox"] = "sandbox"
    timeout: Duration = duration("5s")
    #: Secrets of the provider's webhooks (Standard Webhooks, `whsec_...`): two while they rotate. Without any
    #: no call is taken.
    webhook_secrets: list[Annotated[SecretStr, AfterValidator(webhook_secret)]] = []
    #: What becomes of money for an order that has expired: back, or for the order where its stock is there.
    late: Literal["refund", "reserve"] = "refund"
