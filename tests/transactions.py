"""What can happen around the commit of a transaction, made to happen."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import AutoReconnect
from pymongo.results import UpdateResult

from domain.changes import Changes
from domain.jobs.models import JOBS

#: How a client tries again by itself: the commit alone, or the whole transaction.
LABELS = pytest.mark.parametrize("label", ["UnknownTransactionCommitResult", "TransientTransactionError"])

_watched: ContextVar[bool] = ContextVar("_watched", default=False)


def is_mark(changes: Changes) -> bool:
    """Whether it only marks jobs as sent, which happens whenever it happens: no test is about that."""
    return not changes.inserts and {guard.collection for guard in changes.guards} == {JOBS}


def replace_commit(
    patch: pytest.MonkeyPatch, instead: Callable[[Changes, Callable[[], Awaitable[None]]], Awaitable[None]]
) -> None:
    """Calls `instead(changes, commit)` where a transaction is committed."""
    commit = Changes.commit

    async def replaced(changes: Changes, *args: Any, **kwargs: Any) -> None:
        if is_mark(changes):
            await commit(changes, *args, **kwargs)
        else:
            await instead(changes, lambda: commit(changes, *args, **kwargs))

    patch.setattr(Changes, "commit", replaced)


def just_before_the_commit(patch: pytest.MonkeyPatch, what: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Runs `what` once, between the look and the commit; the list has what it answered or raised."""
    done: list[Any] = []

    async def late(_: Changes, commit: Callable[[], Awaitable[None]]) -> None:
        if not done:
            done.append(None)
            (done[0],) = await asyncio.gather(what(), return_exceptions=True)
        await commit()

    replace_commit(patch, late)
    return done


def each_update_runs_twice(patch: pytest.MonkeyPatch) -> None:
    """As when the answer to an update is lost and the driver repeats it: the second answer is told."""
    update_one = AsyncCollection.update_one

    async def twice(*args: Any, **kwargs: Any) -> UpdateResult:
        await update_one(*args, **kwargs)
        return await update_one(*args, **kwargs)

    patch.setattr(AsyncCollection, "update_one", twice)


@contextmanager
def commit_whose_answer_is_lost(label: str | None) -> Iterator[None]:
    """The next commit is applied and its answer lost. With a label the client tries again by itself.

    `TransientTransactionError` runs the whole transaction again, although it was applied.
    """
    commit = AsyncClientSession.commit_transaction
    lost: list[str] = []

    async def watch(changes: Changes, go_on: Callable[[], Awaitable[None]]) -> None:
        token = _watched.set(True)
        try:
            await go_on()
        finally:
            _watched.reset(token)

    async def lose(session: AsyncClientSession) -> None:
        await commit(session)
        if _watched.get() and not lost:
            lost.append("answer")
            error = AutoReconnect("the connection broke")
            if label:
                error._add_error_label(label)
            raise error

    with pytest.MonkeyPatch.context() as patch:
        replace_commit(patch, watch)
        patch.setattr(AsyncClientSession, "commit_transaction", lose)
        yield
    assert lost == ["answer"]
