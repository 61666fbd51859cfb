"""Services that are asked for a sign of life."""

import asyncio
from typing import Any

import pytest

from domain.control import asking
from domain.control.asking import Seldom, ask, ask_all
from domain.control.status import Status
from domain.errors import ServiceAway
from domain.values import utcnow


async def answers() -> None:
    """A service that is well."""


async def hangs() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ConnectionError("refused\nand more")


async def is_away() -> None:
    raise ServiceAway(service="S3", reason="no such key")


async def says() -> str:
    return "there is no bucket yet"


async def test_each_is_told_apart_and_none_is_waited_for_longer_than_its_time():
    pings = {"well": answers, "hung": hangs, "broken": fails, "away": is_away, "odd": says}
    found = {each.name: each for each in await ask_all(pings, seconds=0.02)}
    assert {name: (each.ok, each.error, each.note) for name, each in found.items()} == {
        "well": (True, None, None),
        "hung": (False, "no answer within 0.02 s", None),
        "broken": (False, "refused", None),
        "away": (False, "no such key", None),
        "odd": (True, None, "there is no bucket yet"),
    }
    assert found["hung"].latency_ms >= 20


@pytest.mark.parametrize("ping", [answers, fails, hangs])
async def test_who_is_asked_seldom_is_known_in_between(ping, monkeypatch: pytest.MonkeyPatch):
    asked = 0

    async def counted() -> None:
        nonlocal asked
        asked += 1
        await ping()

    seldom = Seldom(counted)
    first, again = await ask("s", seldom, seconds=0.02), await ask("s", seldom, seconds=0.02)
    assert (first.ok, again.ok, asked) == (ping is answers, ping is answers, 1)
    assert bool(again.error) is (ping is not answers)

    monkeypatch.setattr(asking, "SELDOM", 0.0)
    fresh = Seldom(counted)
    await ask("s", fresh, seconds=0.02)
    await ask("s", fresh, seconds=0.02)
    assert asked == 3


class Desk:
    """Queues, processes and timetable of nobody, which says that it is read."""

    def __init__(self) -> None:
        self.read = asyncio.Event()

    async def find(self) -> list[Any]:
        self.read.set()
        return []


async def test_what_is_kept_is_read_while_services_are_asked():
    """A broker that hangs holds both up: one after the other took twice as long to be told."""
    desk = Desk()

    async def answers_then() -> None:
        await desk.read.wait()

    kept: Any = desk
    status = Status(
        pings={"rabbitmq": answers_then}, queues=kept, processes=kept, timetables=kept, clock=utcnow
    )
    assert (await status.look()).attention == ["no scheduler leads the timetable"]
