"""From a command's function to a Dramatiq actor: claim, run the verb, record the outcome.

    @handles(CancelOrder, pool="orders")
    async def cancel(services: Services, command: CancelOrder, job: Claimed) -> Result:
        return await services.orders.cancel(command.order_id, owner=job.owner)

A function that is registered with `settles` gets the job's id alone: its verb settles jobs in batches, claim,
effect and outcome in one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import dramatiq
import structlog
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import CurrentMessage
from pymongo.errors import PyMongoError

from domain.bootstrap import Services
from domain.changes import store_is_away
from domain.errors import DomainError, TryAgain
from domain.jobs.commands import Command
from domain.jobs.models import Claimed
from workers.broker import StockyardBroker, StoreAway, queue_name

log = structlog.get_logger(__name__)

C = TypeVar("C", bound=Command)
Result: TypeAlias = Mapping[str, Any] | None
#: Runs a claimed job; what it returns is the job's result.
Verb: TypeAlias = Callable[[Services, C, Claimed], Awaitable[Result]]
#: Settles a job that it claims itself, within its own transaction.
Settle: TypeAlias = Callable[[Services, str], Awaitable[None]]

#: Seconds between two tries to tell the ledger of a run that the store's absence cut short.
TELL_AGAIN = 0.5


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
    """Declares one actor per kind; its name is the kind."""
    for kind, handler in _HANDLERS.items():
        queue = queue_name(handler.command.pool, services.settings.rabbitmq)
        declare = dramatiq.actor(broker=broker, actor_name=kind, queue_name=queue)
        declare(_actor(handler, services))


def _actor(handler: Handler, services: Services) -> Callable[[str], None]:
    """Runs on a thread of the worker and waits there for the coroutine on the event loop."""

    def run(job_id: str) -> None:
        message = CurrentMessage.get_current_message()
        request_id = message.options.get("request_id") if message else None
        thread = get_event_loop_thread()
        if thread is None:
            msg = "the event loop is stopped"
            raise StoreAway(msg)
        with structlog.contextvars.bound_contextvars(
            job_id=job_id, request_id=request_id, kind=handler.command.kind
        ):
            thread.run_coroutine(run_job(handler, services, job_id))

    return run


async def run_job(handler: Handler, services: Services, job_id: str) -> None:
    """What one message does: the job is claimed, run, and its outcome recorded. Raises StoreAway."""
    try:
        if handler.settles:
            await _settle(handler, services, job_id)
        else:
            await _claim_and_run(handler, services, job_id)
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
        log.exception("worker.job_failed")
        await services.runs.postpone(job_id, error)


async def _claim_and_run(handler: Handler, services: Services, job_id: str) -> None:
    job = await services.runs.claim(job_id, kind=handler.command.kind)
    if job is None:
        return
    try:
        async with services.runs.keeping(job), _limit(services):
            result = await handler.run(services, handler.command.model_validate(job.payload), job)
        await services.runs.succeed(job, cast("Result", result))
    except DomainError as error:
        await services.runs.fail(job, error)
    except TryAgain as error:
        await services.runs.retry(job, error, seconds=error.seconds)
    except Exception as error:
        if store_is_away(error):
            await _give_back(services, job, error)
            return
        log.exception("worker.job_failed", attempts=job.attempts)
        await services.runs.retry(job, error)


def _limit(services: Services) -> asyncio.Timeout:
    """No job outlives it; a run that does counts as failed."""
    return asyncio.timeout(services.settings.jobs.time_limit.total_seconds())


async def _give_back(services: Services, job: Claimed, error: Exception) -> None:
    """Queues the job again as soon as the store is back. Past the lease the relay does that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(services.settings.jobs.lease.total_seconds()):
            while True:
                if await _told(services, job, error):
                    return
                await asyncio.sleep(TELL_AGAIN)


async def _told(services: Services, job: Claimed, error: Exception) -> bool:
    try:
        await services.runs.retry(job, error, seconds=TELL_AGAIN)
    except PyMongoError:
        return False
    return True
