"""The parts of the long run that say what was wrong, and how much it asks for."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from pymongo.errors import AutoReconnect

from domain.notifications.webhooks.rules import headers_of, new_secret
from ops.books import Store
from ops.fleet import Member
from ops.soak import lookout, memory
from ops.soak.__main__ import missed, parser
from ops.soak.hooks import PATIENT, Hooks, odd_calls
from ops.soak.pace import SECONDS, SHARE, borne
from ops.soak.summary import Summary
from ops.soak.visits import at_once, visits

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize("wrong", ["--rate=0", "--rate=nan", "--rate=fast", "--clients=0", "--orders=-1"])
def test_a_number_that_means_nothing_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([wrong])
    assert ended.value.code == 2
    assert wrong.partition("=")[0] in capsys.readouterr().err


def test_kills_that_mostly_hit_nothing_are_told():
    def run(kills: int, hits: int) -> Summary:
        return Summary(seed=1, seconds=1.0, worker_kills=kills, worker_kills_in_batch=hits)

    assert missed(run(0, 0)) == missed(run(20, 10)) == []
    assert missed(run(20, 9)) == ["only 9 of 20 killed workers had a batch in hand"]


def test_a_shop_is_asked_for_a_part_of_what_it_served_and_for_less_where_that_took_longer():
    assert borne(500, SECONDS) == SHARE * 500 / SECONDS
    assert borne(500, SECONDS / 2) == borne(500, SECONDS)
    assert borne(500, 2 * SECONDS) == SHARE * 500 / (2 * SECONDS)
    assert borne(0, 60) > 0


def test_who_is_in_a_hurry_does_the_same_without_waiting():
    for visit, _ in zip(visits("1", ["A", "B", "C"]), range(20), strict=False):
        fast = at_once(visit)
        assert (fast.key, fast.items, fast.use) == (visit.key, visit.items, visit.use)
        assert [step.what for step in fast.steps] == [step.what for step in visit.steps]
        assert fast.looks_after == sum(step.after for step in fast.steps) == 0


def test_stock_that_is_below_zero_for_a_while_is_seen_and_said_once(monkeypatch: pytest.MonkeyPatch):
    looks: list[list[str] | Exception] = [[], AutoReconnect(), ["A: -1 available"], ["A: -1 available"], []]
    over = threading.Event()

    def below_zero(_: Store) -> list[str]:
        if not looks:
            over.set()
            return []
        look = looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return look

    monkeypatch.setattr(lookout, "LOOK", 0.001)
    monkeypatch.setattr(lookout, "below_zero", below_zero)
    with lookout.Lookout(cast("Store", {})) as looking:
        assert over.wait(5)
    assert looking.seen == ["A: -1 available"]
    assert not looking._thread.is_alive()


def test_memory_is_sampled_while_one_looks_and_what_grows_is_wrong(monkeypatch: pytest.MonkeyPatch):
    sizes, over = [10.0, 10.0, 10.0, 40.0, 60.0], threading.Event()

    def rss_mb(pids: list[int]) -> list[float]:
        assert pids == [7]
        if not sizes:
            over.set()
            return []
        return [sizes.pop(0)]

    monkeypatch.setattr(memory, "EVERY", 0.001)
    monkeypatch.setattr("ops.bench.watch.rss_mb", rss_mb)
    with memory.Memory([cast("Member", SimpleNamespace(name="api-1", pid=7))]) as sampled:
        assert over.wait(5)
    told, wrong = sampled.verdict()
    assert told == {"api-1": {"first": 10.0, "middle": 10.0, "last": 60.0, "highest": 60.0}}
    assert wrong == ["api-1: grew from 10 MB in the middle to 60 MB"]


@contextmanager
def receiving() -> Iterator[tuple[Hooks, httpx.Client]]:
    with Hooks(seed=1) as hooks, httpx.Client() as client:
        hooks.secret = new_secret()
        yield hooks, client


def call(hooks: Hooks, client: httpx.Client, event_id: str, *, secret: str = "") -> int:
    body = f'{{"id":"{event_id}"}}'
    headers = headers_of(body, event_id=event_id, secrets=[secret or hooks.secret], at=datetime.now(UTC))
    return client.post(hooks.endpoint["url"], content=body, headers=headers).status_code


def test_the_receiver_takes_what_the_shop_has_signed_and_complains_of_anything_else():
    with receiving() as (hooks, client):
        assert [call(hooks, client, name) for name in ("a", "b", "a")] == [200, 200, 200]
        assert not hooks.violations
        assert call(hooks, client, "c", secret=new_secret()) == 401
        assert dict(hooks.taken) == {"a": 2, "b": 1}
        assert len(hooks.violations) == 1


def test_an_ill_receiver_takes_every_event_in_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ops.soak.hooks.FAILS", 100)
    monkeypatch.setattr("ops.soak.hooks.HANGS", 0)
    with receiving() as (hooks, client):
        hooks.ill = True
        assert [call(hooks, client, "a") for _ in range(PATIENT + 1)] == [*[500] * PATIENT, 200]
        # It counts what it has answered a moment after the answer has come.
        deadline = time.monotonic() + 5
        while not hooks.taken and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (dict(hooks.taken), dict(hooks.refused)) == ({"a": 1}, {"a": PATIENT})


def test_a_receiver_that_is_gone_listens_no_more():
    with receiving() as (hooks, _):
        port = hooks.port
    with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
        caller.connect(("127.0.0.1", port))


def test_an_event_that_never_came_and_one_that_should_not_are_both_told():
    def event(name: str, kind: str, seconds: int) -> dict[str, Any]:
        return {"_id": name, "type": kind, "time": NOW + timedelta(seconds=seconds)}

    class Events:
        def find(self, *_: object) -> list[dict[str, Any]]:
            return [
                event("early", "order.paid", -1), event("came", "order.paid", 1),
                event("lost", "hold.expired", 1), event("other", "payment.voided", 1),
            ]  # fmt: skip

    store = cast("Store", {"events": Events()})
    told = list(odd_calls(store, {"came": 2, "other": 1, "made up": 1}, since=NOW))
    assert told == [
        "event lost never came",
        "event made up is none of the endpoint's",
        "event other is none of the endpoint's",
    ]
