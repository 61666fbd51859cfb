"""What the console's pages are made of, without a browser."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from api.console import reads
from api.console.pages.overview import SCHEDULE, WORKERS, _of_dead, _of_stuck, _way, folded, offered
from api.console.parts import path
from api.console.reads import Reads
from api.console.words import (
    AWAY,
    REFUSALS,
    ago,
    count,
    error_line,
    moment,
    money,
    plain,
    span,
    told,
    visible,
)
from domain.errors import Conflict, JobNotReplayable, NotFound, TryAgain
from domain.orders.stuck import Stuck

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class Source:
    """Something to be read, which counts how often it was."""

    def __init__(self) -> None:
        self.read = 0
        self.fails = False

    async def __call__(self) -> int:
        self.read += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ServerSelectionTimeoutError
        return self.read


async def test_twenty_open_pages_read_once():
    shared, source = Reads(), Source()
    found = await asyncio.gather(*(shared.read("pools", source) for _ in range(20)))
    assert (set(found), source.read) == ({1}, 1)
    assert await shared.read("pools", source) == 1
    assert await shared.read("others", source) == 2


async def test_what_was_read_is_forgotten_in_time_and_once_something_was_done():
    shared, source = Reads(), Source()
    assert await shared.read("pools", source, fresh=0.0) == 1
    await asyncio.sleep(0.05)
    assert await shared.read("pools", source, fresh=60.0) == 2
    assert await shared.read("pools", source, fresh=60.0) == 2
    shared.forget()
    assert await shared.read("pools", source) == 3


async def test_a_read_that_fails_is_kept_for_nobody():
    shared, source = Reads(), Source()
    source.fails = True
    with pytest.raises(ServerSelectionTimeoutError):
        await shared.read("pools", source)
    source.fails = False
    assert await shared.read("pools", source) == 2


async def test_reads_of_many_names_do_not_pile_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reads, "MOST", 10)
    shared, source = Reads(), Source()
    for name in range(100):
        await shared.read(name, source, fresh=-1.0)
    assert len(shared._kept) <= 11


def test_times_are_told_as_people_say_them():
    assert moment("2026-11-22T10:00:00.123Z") == "2026-11-22 10:00:00"
    assert moment("2026-11-22T10:00:00.023Z", fine=True) == "2026-11-22 10:00:00.023"
    assert moment(None) == moment(None, fine=True) == "-"
    assert ago(NOW - timedelta(minutes=3), NOW) == "3 min ago"
    assert ago(NOW + timedelta(seconds=40), NOW) == "in 40 s"
    assert ago(NOW, NOW) == "now"
    assert [span(each) for each in (None, 0.0, 0.0004, 0.25, 40.0, 840.0)] == [
        "-",
        "0 s",
        "1 ms",
        "250 ms",
        "40 s",
        "14 min",
    ]


def test_amounts_are_told_as_people_read_them():
    assert [count(each) for each in (None, 0, 0.0, 1234, 1.654)] == ["-", "0", "0", "1,234", "1.65"]
    assert [money(1050, "USD"), money(1050, "JPY"), money(None, "USD")] == ["10.50 USD", "1,050 JPY", "-"]
    assert plain({"id": "b", "size": 3}) == "b (size 3)"


def test_refusals_are_told_in_words():
    assert told(JobNotReplayable(job="j", state="queued")).endswith("This one is queued.")
    assert told(NotFound(job="j")) == REFUSALS["not_found"]
    assert told(Conflict(reason="no dead job is to be taken")).endswith("No dead job is to be taken.")
    assert told(ServerSelectionTimeoutError()) == AWAY
    assert told(TryAgain("x")) == "Others did the same just now. Try it again."
    assert told(ValueError("secret")) == "Something broke: the console's log has it."


def test_of_a_trace_the_last_line_is_shown():
    fault = 'Traceback\n  File "x"\nKeyError: 1\n'
    assert error_line({"code": "internal", "message": "m", "fault": fault}) == "internal: KeyError: 1"
    assert error_line(None) == ""


def test_an_address_keeps_what_is_asked_and_nothing_else():
    assert (
        path("/jobs", {"state": "dead", "kind": None, "text": "a&b=<c>"})
        == "/ops/jobs?state=dead&text=a%26b%3D%3Cc%3E"
    )


def test_letters_that_are_not_seen_or_turn_others_around_are_written_out():
    assert visible("a\u202eb\x00c\ud800") == r"a\u202eb\u0000c\ud800"
    assert visible("Zoë 日本 \u05d0\n\t<b>") == "Zoë 日本 \u05d0\n\t<b>"


def test_what_needs_attention_leads_to_where_something_can_be_done():
    lines = (
        "orders is paused by ada",
        "media: its oldest job has waited 90 s",
        "the worker 7 on a is drained",
    )
    assert [_way(line) for line in lines] == [WORKERS] * 3
    assert _way("audit-the-stock is overdue by 70 s") == ("Schedule", "/ops/schedule")
    assert _way("redis does not answer") is None


def test_one_cause_does_not_fill_the_overview():
    failing = [(f"entry {number} has failed (1 in a row): {'x' * 999}", *SCHEDULE) for number in range(9)]
    first, last = folded(["redis does not answer", *failing])
    assert first == "redis does not answer"
    assert last[0].startswith("9 entries of the timetable fail or are overdue. The first: entry 0 has failed")
    assert (len(last[0]), last[1:]) == (240, SCHEDULE)
    assert len(folded(failing[:2])) == 2


def test_dead_and_stuck_things_are_told_on_the_overview():
    group = {"kind": "orders.cancel", "last_at": NOW - timedelta(minutes=4)}
    form = {"jobs": 7, "groups": [group, {**group, "last_at": NOW - timedelta(minutes=9)}]}
    assert _of_dead(form, NOW) == [
        ("7 jobs died, most of them orders.cancel; the last 4 min ago.", "Replay or discard", "/ops/dead")
    ]
    assert _of_dead({"jobs": 0, "groups": []}, NOW) == []
    held, paused = (
        Stuck(what, "job", "j", NOW - timedelta(minutes=6), "It waits.", None)
        for what in ("job_held", "job_paused")
    )
    assert _of_stuck([paused], NOW) == []
    assert _of_stuck([held, paused, held], NOW) == [
        ("2 things are stuck, the first for 6 min: It waits.", "Repair", "/ops/orders")
    ]


def test_who_may_only_look_is_promised_no_repair():
    line = ("1 job died.", "Replay or discard", "/ops/dead")
    assert offered([line], acts=True) == [line]
    assert offered([line], acts=False) == [("1 job died.", "Show", "/ops/dead")]
