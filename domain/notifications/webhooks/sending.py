"""One event to one endpoint: an attempt, and what follows on it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from domain.batching import Batcher
from domain.changes import Database, Doc
from domain.errors import NotFound, TryAgain
from domain.events.models import EVENTS
from domain.jobs.models import Claimed
from domain.notifications.events import TESTED
from domain.notifications.webhooks.commands import SendWebhook, TryWebhook
from domain.notifications.webhooks.disabling import Disabling
from domain.notifications.webhooks.endpoints import MAX_READ, Endpoints
from domain.notifications.webhooks.errors import WebhookDisabled, WebhookUndelivered
from domain.notifications.webhooks.log import Attempt, DeliveryLog
from domain.notifications.webhooks.places import Places
from domain.notifications.webhooks.rules import (
    DELIVERED,
    FAILED,
    FAILING,
    GIVE_UP_AFTER,
    GONE,
    HTTP_GONE,
    PATIENCE,
    PENDING,
    body_of,
    headers_of,
    pause_after,
    retry_after,
    signing_secrets,
)
from domain.notifications.webhooks.sealing import Sealing
from domain.ports import WebhookAnswer, WebhookSender
from domain.values import Clock


@dataclass(frozen=True, slots=True)
class Sending:
    """What an attempt is made of."""

    job: Claimed
    endpoint: Doc
    event: Mapping[str, Any]


class WebhookSending:
    """Makes attempts. At least once: a worker that dies between an answer and its record calls again."""

    def __init__(
        self,
        *,
        database: Database,
        endpoints: Endpoints,
        disabling: Disabling,
        log: DeliveryLog,
        sender: WebhookSender,
        places: Places,
        sealing: Sealing,
        clock: Clock,
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self._disabling = disabling
        self._log = log
        self._sender = sender
        self._places = places
        self._sealing = sealing
        self._clock = clock
        self._reads: Batcher[str, Doc | None] = Batcher(self._read, max_size=MAX_READ)

    async def send(self, command: SendWebhook, job: Claimed) -> dict[str, Any]:
        """The attempt that is due. A success answers `status` and `attempts`.

        Raises TryAgain, which counts as no run, for the next attempt, and where the endpoint has as many
        calls on their way as it may; WebhookUndelivered after the last attempt, WebhookDisabled, and NotFound
        where the endpoint was deleted.
        """
        endpoint = await self._endpoints.find(command.endpoint_id)
        if endpoint is None or not endpoint["enabled"]:
            await self._log.end(job.id)
            raise (
                WebhookDisabled(endpoint=command.endpoint_id)
                if endpoint
                else NotFound(endpoint=command.endpoint_id)
            )
        if self._too_late(job, timedelta()):
            await self._log.end(job.id)
            raise WebhookUndelivered(endpoint=command.endpoint_id, error="no_place")
        with self._places.taken(command.endpoint_id):
            event = await self._reads.submit(command.event_id)
            if event is None:
                raise NotFound(event=command.event_id)
            return await self._attempt(Sending(job, endpoint, event))

    async def try_out(self, command: TryWebhook, job: Claimed) -> dict[str, Any]:
        """Sends `webhook.test`, once, enabled or not; no failure of the endpoint is counted by it.

        Raises WebhookUndelivered, NotFound, and TryAgain as `send` does.
        """
        endpoint = await self._endpoints.find(command.endpoint_id)
        if endpoint is None:
            raise NotFound(endpoint=command.endpoint_id)
        with self._places.taken(command.endpoint_id):
            attempt = await self._call(Sending(job, endpoint, _test_event(endpoint, job)), tries=1)
        state = DELIVERED if attempt.answer.taken else FAILED
        await self._log.record(replace(attempt, state=state, counts=False))
        return _result(attempt) if attempt.answer.taken else _refuse(attempt)

    async def drain(self) -> None:
        """Returns when every attempt is written."""
        await self._reads.drain()
        await self._endpoints.drain()
        await self._log.drain()

    async def _attempt(self, sending: Sending) -> dict[str, Any]:
        # Only a job that was run before may have made attempts in this round.
        tries = await self._log.tries(sending.job.id) if sending.job.failing_since else 0
        attempt = await self._call(sending, tries=tries + 1)
        if attempt.answer.taken:
            await self._log.record(replace(attempt, state=DELIVERED))
            return _result(attempt)
        pause = self._pause(sending.job, attempt)
        next_at = attempt.at + pause if pause else None
        await self._log.record(replace(attempt, state=PENDING if pause else FAILED, next_at=next_at))
        if attempt.answer.status == HTTP_GONE:
            await self._disabling.disable(attempt.endpoint_id, reason=GONE)
        else:
            await self._disable_if_failing(sending.endpoint, attempt)
        if pause is None:
            return _refuse(attempt)
        reason = attempt.answer.error or f"status {attempt.answer.status}"
        raise TryAgain(reason, seconds=pause.total_seconds(), patience=PATIENCE)

    async def _call(self, sending: Sending, *, tries: int) -> Attempt:
        event, endpoint, now = sending.event, sending.endpoint, self._clock()
        body = body_of(event)
        secrets = [self._sealing.open(each) for each in signing_secrets(endpoint, at=now)]
        headers = headers_of(body, event_id=event["_id"], secrets=secrets, at=now)
        answer = await self._sender.send(endpoint["url"], body=body.encode(), headers=headers)
        return Attempt(
            delivery_id=sending.job.id,
            endpoint_id=endpoint["_id"],
            event=event,
            at=now,
            tries=tries,
            answer=answer,
            state=PENDING,
            had_failed=endpoint["failures"] > 0,
        )

    def _pause(self, job: Claimed, attempt: Attempt) -> timedelta | None:
        if attempt.answer.status == HTTP_GONE:
            return None
        asked = retry_after(attempt.answer.retry_after, at=attempt.at)
        pause = pause_after(attempt.tries, asked=asked)
        return None if pause is None or self._too_late(job, pause) else pause

    def _too_late(self, job: Claimed, pause: timedelta) -> bool:
        now = self._clock()
        return now + pause - (job.failing_since or now) > GIVE_UP_AFTER

    async def _disable_if_failing(self, endpoint: Doc, attempt: Attempt) -> None:
        since: datetime = endpoint.get("failing_since") or attempt.at
        counted = endpoint | {"failures": endpoint["failures"] + 1, "failing_since": since}
        if self._disabling.has_failed(counted):
            await self._disabling.disable(attempt.endpoint_id, reason=FAILING)

    async def _read(self, ids: list[str]) -> list[Doc | None]:
        rows = self._database[EVENTS].find({"_id": {"$in": sorted(set(ids))}})
        found = {row["_id"]: row async for row in rows}
        return [found.get(event_id) for event_id in ids]


def _test_event(endpoint: Doc, job: Claimed) -> Doc:
    """In no log of events, so its `seq` is 0."""
    return {
        "_id": job.id,
        "account_id": endpoint["account_id"],
        "seq": 0,
        "type": TESTED.name,
        "subject": endpoint["_id"],
        "time": job.created_at,
        "data": {"endpoint_id": endpoint["_id"], "url": endpoint["url"]},
    }


def _result(attempt: Attempt) -> dict[str, Any]:
    return {"status": attempt.answer.status, "attempts": attempt.tries, **_timing(attempt.answer)}


def _refuse(attempt: Attempt) -> dict[str, Any]:
    facts = {"status": attempt.answer.status, "error": attempt.answer.error}
    known = {name: value for name, value in facts.items() if value is not None}
    raise WebhookUndelivered(endpoint=attempt.endpoint_id, attempts=attempt.tries, **known)


def _timing(answer: WebhookAnswer) -> dict[str, int]:
    return {"ms": round(answer.seconds * 1000)}
