"""Asking services for a sign of life: side by side, each within a bounded time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from domain.errors import ServiceAway

#: Asks one service; raises where it does not answer. What it answers is a note for people, if anything.
Ping: TypeAlias = Callable[[], Awaitable[str | None]]

#: Seconds that a service has to answer.
PATIENCE = 2.0
#: Seconds for which an answer of a service serves that is not to be asked often.
SELDOM = 10.0
#: Letters of a reason that are kept.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a service answers."""

    name: str
    ok: bool
    latency_ms: float
    #: Why it does not.
    error: str | None = None
    #: What is worth a word although it does.
    note: str | None = None


class Seldom:
    """Asks once in `SELDOM` seconds and knows the answer until then: mail servers count who comes."""

    def __init__(self, ping: Ping) -> None:
        self._ping = ping
        self._asking = asyncio.Lock()
        self._until = float("-inf")
        self._failure: Exception | None = None

    async def __call__(self) -> None:
        """As the ping itself."""
        async with self._asking:
            if time.monotonic() >= self._until:
                await self._ask()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    async def _ask(self) -> None:
        # Stands where the caller does not wait for the end.
        self._failure = TimeoutError("no answer in time")
        self._until = time.monotonic() + SELDOM
        try:
            await self._ping()
        except Exception as error:  # noqa: BLE001 - raised to whoever asks
            self._failure = error
        else:
            self._failure = None


async def ask_all(pings: Mapping[str, Ping], *, seconds: float = PATIENCE) -> list[Answer]:
    """What each service answers within the time. Never raises."""
    return await asyncio.gather(*(ask(name, ping, seconds=seconds) for name, ping in pings.items()))


async def ask(name: str, ping: Ping, *, seconds: float = PATIENCE) -> Answer:
    """As `ask_all`, of one."""
    began = time.perf_counter()
    note = reason = None
    try:
        async with asyncio.timeout(seconds):
            note = await ping()
    except TimeoutError as error:
        reason = str(error) or f"no answer within {seconds:g} s"
    except ServiceAway as error:
        reason = str(error.detail.get("reason", error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the service does not answer
        reason = str(error) or type(error).__name__
    latency = round((time.perf_counter() - began) * 1000, 2)
    if reason is not None:
        return Answer(name, ok=False, latency_ms=latency, error=reason.splitlines()[0][:_LONGEST])
    return Answer(name, ok=True, latency_ms=latency, note=note)
