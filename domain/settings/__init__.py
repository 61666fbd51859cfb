"""Every setting, grouped per vendor, read from the environment or `.env` once at start.

Names are `STOCKYARD_<GROUP>_<NAME>`; `.env.example` lists them all.
"""

from pydantic import BaseModel, ConfigDict, Field

from domain.settings.http import Api, Auth, Console
from domain.settings.mail import Mail
from domain.settings.media import Cdn, Media
from domain.settings.pools import Pools
from domain.settings.processes import Deployment, Jobs, Log, Scheduler, Telemetry, Workers
from domain.settings.services import S3, Mongo, Rabbitmq, Redis
from domain.settings.shop import Carts, Catalog, Checkout, Inventory, Orders, Payments
from domain.settings.webhooks import Webhooks

__all__ = [
    "S3",
    "Api",
    "Auth",
    "Carts",
    "Catalog",
    "Cdn",
    "Checkout",
    "Console",
    "Deployment",
    "Inventory",
    "Jobs",
    "Log",
    "Mail",
    "Media",
    "Mongo",
    "Orders",
    "Payments",
    "Pools",
    "Rabbitmq",
    "Redis",
    "Scheduler",
    "Settings",
    "Telemetry",
    "Webhooks",
    "Workers",
]


class Settings(BaseModel):
    """All groups. Frozen: a process reads its settings once."""

    model_config = ConfigDict(frozen=True)
    deployment: Deployment = Field(default_factory=Deployment)
    mongo: Mongo = Field(default_factory=Mongo)
    redis: Redis = Field(default_factory=Redis)
    rabbitmq: Rabbitmq = Field(default_factory=Rabbitmq)
    s3: S3 = Field(default_factory=S3)
    api: Api = Field(default_factory=Api)
    console: Console = Field(default_factory=Console)
    auth: Auth = Field(default_factory=Auth)
    jobs: Jobs = Field(default_factory=Jobs)
    orders: Orders = Field(default_factory=Orders)
    catalog: Catalog = Field(default_factory=Catalog)
    carts: Carts = Field(default_factory=Carts)
    checkout: Checkout = Field(default_factory=Checkout)
    inventory: Inventory = Field(default_factory=Inventory)
    payments: Payments = Field(default_factory=Payments)
    mail: Mail = Field(default_factory=Mail)
    media: Media = Field(default_factory=Media)
    cdn: Cdn = Field(default_factory=Cdn)
    pools: Pools = Field(default_factory=Pools)
    webhooks: Webhooks = Field(default_factory=Webhooks)
    workers: Workers = Field(default_factory=Workers)
    scheduler: Scheduler = Field(default_factory=Scheduler)
    log: Log = Field(default_factory=Log)
    telemetry: Telemetry = Field(default_factory=Telemetry)
