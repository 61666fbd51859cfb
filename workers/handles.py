"""From a command's function to a Dramatiq actor: claim, run the verb, record the outcome.

    @handles(CancelOrder, pool="orders")
    async def cancel(services: Services, command: CancelOrder, job: Claimed) -> Result:
        return await services.orders.cancel(command.order_id, owner=job.owner)

A function that is registered with `settles` gets the job's id alone: its verb settles jobs in batches, claim,
effect and outcome in one transaction.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import dramatiq
import structlog
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import CurrentMessage
from pymongo.errors import PyMongoError

from domain import telemetry
from domain.bootstrap import Services
from domain.changes import store_is_away
from domain.errors import DomainError, TryAgain
from domain.events.making import made_by
from domain.jobs.commands import Command, NewerPayload, versioned_kind
from domain.jobs.models import Claimed
from workers.broker import StockyardBroker, StoreAway, queue_name
from workers.consumer import HEAD, NAMED, NEWER

log = structlog.get_logger(__name__)

C = TypeVar("C", bound=Command)
Result: TypeAlias = Mapping[str, Any] | None
#: Runs a claimed job; what it returns is the job's result.
Verb: TypeAlias = Callable[[Services, C, Claimed], Awaitable[Result]]
#: Settles a job that it claims itself, within its own transaction.
Settle: TypeAlias = Callable[[Services, str], Awaitable[None]]

#: Seconds between two tries to tell the ledger of a run that the store's absence cut short.
TELL_AGAIN = 0.5
#: Seconds before a job is run again whose payload turned out to be newer than its message said.
TOO_NEW = 10.0


@dataclass(frozen=True, slots=True)
class Handler:
    """One kind of job and what runs it."""

    command: type[Command]
    run: Callable[..., Awaitable[Any]]
    settles: bool


_HANDLERS: dict[str, Handler] = {}


def handles(command: type[C], *, pool: str) -> Callable[[Verb[C]], Verb[C]]:
    """Registers a function as what runs the command's kind. `pool` repeats the command's, for the reader."""

    def register_verb(verb: Verb[C]) -> Verb[C]:
        _add(command, pool, verb, settles=False)
        return verb

    return register_verb


def settles(command: type[Command], *, pool: str) -> Callable[[Settle], Settle]:
    """As `handles`, for a verb that settles jobs in batches."""

    def register_settle(settle: Settle) -> Settle:
        _add(command, pool, settle, settles=True)
        return settle

    return register_settle


def _add(command: type[Command], pool: str, run: Callable[..., Awaitable[Any]], *, settles: bool) -> None:
    if pool != command.pool:
        msg = f"{command.kind} belongs to the pool {command.pool}, not {pool}"
        raise ValueError(msg)
    if command.kind in _HANDLERS:
        msg = f"{command.kind} has a handler already"
        raise ValueError(msg)
    _HANDLERS[command.kind] = Handler(command, run, settles=settles)


def registered() -> Mapping[str, Handler]:
    """What runs each kind."""
    return dict(_HANDLERS)


def pools(handlers: Mapping[str, Handler]) -> frozenset[str]:
    """The pools that there is work for."""
    return frozenset(handler.command.pool for handler in handlers.values())


def register(broker: StockyardBroker, services: Services) -> None:
    """Declares one actor per kind and version of its payload, and one for what only newer workers know."""
    for kind, handler in _HANDLERS.items():
        queue = queue_name(handler.command.pool, services.settings.rabbitmq)
        for version in range(1, handler.command.version + 1):
            name = versioned_kind(kind, version)
            declare = dramatiq.actor(broker=broker, actor_name=name, queue_name=queue)
            run = partial(run_job, handler, services, stopping=broker.draining.is_set)
            declare(_actor(run, kind))
    # Messages of any queue reach it.
    declare = dramatiq.actor(broker=broker, actor_name=NEWER, queue_name=queue)
    declare(_actor(partial(leave, services)))


def _actor(work: Callable[..., Awaitable[None]], kind: str | None = None) -> Callable[[str], None]:
    """Runs on a thread of the worker and waits there for the coroutine on the event loop.

    Without a `kind` the work is handed the one that the message names.
    """

    def run(job_id: str) -> None:
        message = CurrentMessage.get_current_message()
        options = message.options if message else {}
        request_id = options.get("request_id")
        thread = get_event_loop_thread()
        if thread is None:
            msg = "the event loop is stopped"
            raise StoreAway(msg)
        named = {} if kind else {"kind": str(options.get(NAMED, ""))}
        bound = {"job_id": job_id, "request_id": request_id, "kind": kind, **named}
        parent = options.get("traceparent")
        trace = telemetry.span(str(bound["kind"]), _facts(job_id), kind="consumer", parent=parent)
        with structlog.contextvars.bound_contextvars(**bound), trace:
            thread.run_coroutine(work(job_id, **named))

    return run


def _facts(job_id: str) -> dict[str, str]:
    """Of a run's span."""
    return {"messaging.system": "rabbitmq", "messaging.message.id": job_id, "stockyard.job_id": job_id}


async def leave(services: Services, job_id: str, *, kind: str) -> None:
    """Leaves a job to a worker that knows its kind. Raises StoreAway."""
    try:
        if not await services.aside.submit(job_id, kind):
            log.info("a message of an unknown kind names no job", job_id=job_id[:HEAD], kind=kind)
    except PyMongoError as error:
        if not store_is_away(error):
            raise
        raise StoreAway(str(error)) from error


def _never() -> bool:
    return False


async def run_job(
    handler: Handler, services: Services, job_id: str, *, stopping: Callable[[], bool] = _never
) -> None:
    """What one message does: the job is claimed, run, and its outcome recorded. Raises StoreAway.

    `stopping` says whether the process was told to stop, and is not to wait for a store that is away.
    """
    try:
        with services.meter.running(handler.command.pool):
            if handler.settles:
                await _settle(handler, services, job_id)
            else:
                await _claim_and_run(handler, services, job_id, stopping)
    except PyMongoError as error:
        if not store_is_away(error):
            raise
        raise StoreAway(str(error)) from error


async def _settle(handler: Handler, services: Services, job_id: str) -> None:
    try:
        async with _limit(services):
            await handler.run(services, job_id)
    except TryAgain as error:
        await services.runs.postpone(job_id, error, seconds=error.seconds)
    except Exception as error:
        if store_is_away(error):
            raise
        telemetry.failed(error)
        log.exception("worker.job_failed")
        await services.runs.postpone(job_id, error)


async def _claim_and_run(
    handler: Handler, services: Services, job_id: str, stopping: Callable[[], bool]
) -> None:
    job = await services.runs.claim(job_id, kind=handler.command.kind)
    if job is None:
        return
    try:
        async with services.runs.keeping(job), _limit(services):
            command = handler.command.load(job.payload, version=job.version)
            with made_by(job.id):
                result = await handler.run(services, command, job)
        await services.runs.succeed(job, cast("Result", result))
    except DomainError as error:
        await services.runs.fail(job, error)
    except TryAgain as error:
        await services.runs.retry(job, error, seconds=error.seconds)
    except NewerPayload as error:
        await services.runs.retry(job, error, seconds=TOO_NEW)
    except Exception as error:
        if store_is_away(error):
            await _give_back(services, job, error, stopping)
            return
        telemetry.failed(error)
        log.exception("worker.job_failed", attempts=job.attempts)
        await services.runs.retry(job, error)


def _limit(services: Services) -> asyncio.Timeout:
    """No job outlives it; a run that does counts as failed."""
    return asyncio.timeout(services.settings.jobs.time_limit.total_seconds())


async def _give_back(
    services: Services, job: Claimed, error: Exception, stopping: Callable[[], bool]
) -> None:
    """Queues the job again as soon as the store is back. Else, past the lease, the relay does that."""
    lapsed = time.monotonic() + services.settings.jobs.lease.total_seconds()
    telling = asyncio.create_task(_tell(services, job, error))
    try:
        while not telling.done() and not stopping() and time.monotonic() < lapsed:
            await asyncio.wait([telling], timeout=TELL_AGAIN)
    finally:
        telling.cancel()
    with suppress(asyncio.CancelledError):
        await telling


async def _tell(services: Services, job: Claimed, error: Exception) -> None:
    while True:
        try:
            await services.runs.retry(job, error, seconds=TELL_AGAIN)
        except PyMongoError:
            await asyncio.sleep(TELL_AGAIN)
        else:
            return
