"""The parts of webhooks, made."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from domain.changes import Database
from domain.events.service import Events
from domain.jobs.running import JobRuns
from domain.jobs.service import Jobs
from domain.notifications.webhooks.disabling import Disabling
from domain.notifications.webhooks.endpoints import Endpoints
from domain.notifications.webhooks.known import KnownEndpoints, WebhookWay
from domain.notifications.webhooks.log import DeliveryLog
from domain.notifications.webhooks.places import Places
from domain.notifications.webhooks.range import EventRange
from domain.notifications.webhooks.redelivery import Redelivery
from domain.notifications.webhooks.rules import PATIENCE
from domain.notifications.webhooks.sealing import Sealing
from domain.notifications.webhooks.sending import WebhookSending
from domain.ports import PubSub, WebhookSender
from domain.settings import Webhooks as WebhookSettings
from domain.values import Clock


class Webhooks:
    """The parts: `endpoints`, `log`, `sending` and `redelivery` have the verbs, `way` routes events."""

    def __init__(
        self,
        *,
        database: Database,
        pubsub: PubSub,
        events: Events,
        jobs: Jobs,
        runs: JobRuns,
        sender: WebhookSender,
        settings: WebhookSettings,
        clock: Clock,
    ) -> None:
        shared: dict[str, Any] = {"database": database, "clock": clock}
        self.sender = sender
        sealing = Sealing(key.get_secret_value() for key in settings.secret_keys)
        self._known = KnownEndpoints(
            database=database, pubsub=pubsub, refresh=settings.refresh.total_seconds()
        )
        self.way = WebhookWay(self._known)
        self.log = DeliveryLog(keep=settings.keep_log, **shared)
        deciding: dict[str, Any] = {"known": self._known, "settings": settings, **shared}
        self.endpoints = Endpoints(sender=sender, sealing=sealing, **deciding)
        self.sending = WebhookSending(
            endpoints=self.endpoints,
            disabling=Disabling(events=events, **deciding),
            log=self.log,
            sender=sender,
            places=Places(each=settings.concurrency, slow=settings.slow_concurrency, patience=PATIENCE),
            sealing=sealing,
            **shared,
        )
        self.redelivery = Redelivery(
            database=database,
            endpoints=self.endpoints,
            events=EventRange(database=database, events=events),
            jobs=jobs,
            runs=runs,
        )

    def listening(self) -> AbstractAsyncContextManager[None]:
        """While it is open, other processes' changes of endpoints are heard of at once."""
        return self._known.listening()

    async def drain(self) -> None:
        """Returns when every attempt is written."""
        await self.sending.drain()
