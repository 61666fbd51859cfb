"""Credentials over several processes: refused at once when they end, and in bounded time whatever fails."""

import asyncio
from datetime import timedelta

import pytest

from domain.accounts.models import SESSIONS
from domain.accounts.rules import CUSTOMER_SCOPES, SCOPES, Principal
from domain.accounts.service import Accounts
from domain.accounts.standing import CACHED, MARKED, session_name
from domain.bootstrap import Services
from domain.errors import Forbidden, Invalid, KeyNotRotatable, NotFound, TooManyKeys, Unauthenticated
from tests.conftest import MovableClock
from tests.factories import eventually
from tests.fakes import FakeCache, FakePubSub
from tests.people import PASSWORD, PHONE, accounts_of, somebody

OPS = Principal("ops", "ops", SCOPES)


async def refused(accounts: Accounts, credential: str) -> bool:
    try:
        await accounts.authenticate(credential)
    except Unauthenticated:
        return True
    return False


async def test_an_ended_session_is_refused_by_every_process(shared: Services):
    async with accounts_of(shared) as one, accounts_of(shared) as other, accounts_of(shared) as third:
        account = await somebody(one)
        session = await one.log_in(account.email, PASSWORD)
        for process in (one, other, third):
            assert (await process.authenticate(session.token)).session_id == session.session_id
        await one.sessions.end(session.session_id, account_id=account.id)
        assert await refused(one, session.token)
        await eventually(lambda: refused(other, session.token), within=3)
        await eventually(lambda: refused(third, session.token), within=3)


async def test_a_revoked_key_is_refused_by_every_process(shared: Services):
    async with accounts_of(shared) as one, accounts_of(shared) as other:
        by = Principal((await somebody(one)).id, "customer", CUSTOMER_SCOPES)
        made = await one.keys.create(by, name="robot", scopes=["orders:read"])
        for process in (one, other):
            assert (await process.authenticate(made.secret)).key_id == made.row["_id"]
        await one.keys.revoke(made.row["_id"], account_id=by.account_id)
        assert await refused(one, made.secret)
        await eventually(lambda: refused(other, made.secret), within=3)


async def test_what_an_account_loses_its_tokens_and_keys_lose_everywhere(shared: Services):
    async with accounts_of(shared) as one, accounts_of(shared) as other:
        account = await somebody(one)
        await one.change(account.id, OPS, scopes=["orders:read", "catalog:write"])
        session = await one.log_in(account.email, PASSWORD)
        by = await other.authenticate(session.token)
        made = await one.keys.create(by, name="robot", scopes=["orders:read", "catalog:write"])
        assert (await other.authenticate(made.secret)).may("catalog:write")
        await one.change(account.id, OPS, scopes=["orders:read"])

        async def lost(credential: str) -> bool:
            return not (await other.authenticate(credential)).may("catalog:write")

        await eventually(lambda: lost(session.token), within=3)
        await eventually(lambda: lost(made.secret), within=3)


async def test_without_pubsub_the_next_look_finds_the_end(shared: Services, clock: MovableClock):
    deaf = {"pubsub": FakePubSub()}
    async with accounts_of(shared) as one, accounts_of(shared, clock=clock, ports=deaf) as other:
        account = await somebody(one)
        session = await one.log_in(account.email, PASSWORD)
        await other.authenticate(session.token)
        await one.sessions.end(session.session_id, account_id=account.id)
        assert not await refused(other, session.token)
        clock.move(seconds=5)
        assert await refused(other, session.token)


async def test_without_redis_the_store_decides(shared: Services, clock: MovableClock):
    cache, pubsub = FakeCache(), FakePubSub()
    cache.away = pubsub.away = True
    away = {"cache": cache, "pubsub": pubsub}
    async with (
        accounts_of(shared, clock=clock, ports=away) as one,
        accounts_of(shared, clock=clock, ports=away) as other,
    ):
        account = await somebody(one)
        session = await one.log_in(account.email, PASSWORD)
        assert not await refused(other, session.token)
        await one.sessions.end(session.session_id, account_id=account.id)
        assert await refused(one, session.token)
        clock.move(seconds=5)
        assert await refused(other, session.token)


async def test_an_end_that_redis_did_not_hear_of_is_known_within_the_stated_time(
    shared: Services, clock: MovableClock
):
    """What the page on access promises: recheck, and what Redis still keeps."""
    cache, pubsub = FakeCache(), FakePubSub()
    ports = {"cache": cache, "pubsub": pubsub}
    async with (
        accounts_of(shared, clock=clock, ports=ports) as one,
        accounts_of(shared, clock=clock, ports=ports) as other,
    ):
        account = await somebody(one)
        session = await one.log_in(account.email, PASSWORD)
        await one.authenticate(session.token)
        cache.away = pubsub.away = True
        await one.sessions.end(session.session_id, account_id=account.id)
        cache.away = pubsub.away = False
        assert not await refused(other, session.token)
        cache.clock += CACHED
        clock.move(seconds=5)
        assert await refused(other, session.token)


async def test_a_lost_connection_has_everything_looked_up_again(shared: Services):
    pubsub = FakePubSub()
    async with accounts_of(shared, ports={"pubsub": pubsub}) as accounts:
        session = await accounts.log_in((await somebody(accounts)).email, PASSWORD)
        await accounts.authenticate(session.token)
        assert accounts._access._held
        pubsub.break_connection()
        await eventually(lambda: not accounts._access._held)
        assert not await refused(accounts, session.token)


async def test_a_reading_from_before_the_end_is_not_believed_after_it(
    shared: Services, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    """The session ends between the reading of the store and what is made of it."""
    cache = FakeCache()
    async with accounts_of(shared, clock=clock, ports={"cache": cache}) as accounts:
        account = await somebody(accounts)
        session = await accounts.log_in(account.email, PASSWORD)
        read, go_on, has_read = accounts._access._standings._reads.submit, asyncio.Event(), asyncio.Event()

        async def slowly(name):
            found = await read(name)
            has_read.set()
            await go_on.wait()
            return found

        monkeypatch.setattr(accounts._access._standings._reads, "submit", slowly)
        looking = asyncio.create_task(accounts.authenticate(session.token))
        await has_read.wait()
        await accounts.sessions.end(session.session_id, account_id=account.id)
        go_on.set()
        await looking
        assert await cache.get(f"access:{session_name(session.session_id)}") == ""
        assert await refused(accounts, session.token)
        cache.clock += MARKED
        assert await refused(accounts, session.token)


async def test_a_credential_that_came_a_moment_ago_asks_nobody(
    shared: Services, monkeypatch: pytest.MonkeyPatch
):
    async with accounts_of(shared, recheck="1h") as accounts:
        session = await accounts.log_in((await somebody(accounts)).email, PASSWORD)
        await accounts.authenticate(session.token)
        monkeypatch.setattr(accounts._access._standings, "_cache", None)
        monkeypatch.setattr(accounts._access._standings, "_reads", None)
        for _ in range(100):
            await accounts.authenticate(session.token)


async def test_a_thousand_first_requests_are_few_reads(shared: Services, monkeypatch: pytest.MonkeyPatch):
    async with accounts_of(shared) as accounts:
        account = await somebody(accounts)
        tokens = [(await accounts.sessions.open(account, PHONE)).token for _ in range(20)]
        reads = []
        real = accounts._access._standings._reads._apply

        async def counted(names):
            reads.append(len(names))
            return await real(names)

        monkeypatch.setattr(accounts._access._standings._reads, "_apply", counted)
        await asyncio.gather(*(accounts.authenticate(token) for token in tokens * 50))
        assert len(reads) < 50


async def test_a_token_ends_at_its_time_although_it_is_known(shared: Services, clock: MovableClock):
    async with accounts_of(shared, clock=clock, recheck="1h") as accounts:
        session = await accounts.log_in((await somebody(accounts)).email, PASSWORD)
        await accounts.authenticate(session.token)
        clock.move(minutes=15)
        for _ in range(2):
            with pytest.raises(Unauthenticated) as told:
                await accounts.authenticate(session.token)
            assert told.value.detail == {"reason": "expired"}


async def test_a_token_whose_session_is_nobodys_opens_nothing(shared: Services):
    async with accounts_of(shared) as accounts:
        account = await somebody(accounts)
        session = await accounts.log_in(account.email, PASSWORD)
        stranger = accounts._tokens.issue("somebody else", session.session_id, "ops", SCOPES)
        nowhere = accounts._tokens.issue(account.id, "no such session", "ops", SCOPES)
        greedy = accounts._tokens.issue(account.id, session.session_id, "ops", SCOPES)
        assert await refused(accounts, stranger.token)
        assert await refused(accounts, nowhere.token)
        principal = await accounts.authenticate(greedy.token)
        assert (principal.role, principal.scopes) == ("customer", CUSTOMER_SCOPES)


async def test_uses_are_noted_once_a_minute(shared: Services, clock: MovableClock):
    async with accounts_of(shared, clock=clock, recheck="100ms") as accounts:
        session = await accounts.log_in((await somebody(accounts)).email, PASSWORD)

        async def used() -> timedelta:
            clock.move(seconds=20)
            await accounts.authenticate(session.token)
            await accounts.drain()
            row = await shared.database[SESSIONS].find_one({"_id": session.session_id})
            assert row is not None
            passed: timedelta = row["last_used_at"] - row["created_at"]
            return passed

        found = [round((await used()).total_seconds()) for _ in range(5)]
        assert found == [20, 20, 20, 80, 80]


# -- keys --------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_kept_as_a_hash(shared: Services):
    async with accounts_of(shared) as accounts:
        by = Principal((await somebody(accounts)).id, "customer", CUSTOMER_SCOPES)
        made = await accounts.keys.create(by, name="robot", scopes=["orders:read"])
        row = await accounts.keys.get(made.row["_id"], account_id=by.account_id)
        assert made.secret.startswith(row["prefix"])
        assert made.secret not in repr(row)
        principal = await accounts.authenticate(made.secret)
        assert principal.scopes == {"orders:read"}
        assert (principal.session_id, principal.rate_limit) == (None, 600)
        for wrong in (made.secret[:-1], made.secret + "x", "sk_", "sk_" + "a" * 200, row["hash"]):
            assert await refused(accounts, wrong)


async def test_a_key_may_no_more_than_its_maker_and_ends_in_time(shared: Services, clock: MovableClock):
    async with accounts_of(shared, clock=clock) as accounts:
        by = Principal((await somebody(accounts)).id, "customer", CUSTOMER_SCOPES)
        with pytest.raises(Forbidden):
            await accounts.keys.create(by, name="robot", scopes=["orders:read", "ops:read"])
        for ends in (clock(), clock() + timedelta(days=4000)):
            with pytest.raises(Invalid):
                await accounts.keys.create(by, name="robot", scopes=["orders:read"], expires_at=ends)
        with pytest.raises(Invalid):
            await accounts.keys.create(by, name="robot", scopes=["orders:read"], rate_limit=601)
        ends = clock() + timedelta(minutes=1)
        made = await accounts.keys.create(by, name="robot", scopes=["orders:read"], expires_at=ends)
        assert not await refused(accounts, made.secret)
        clock.move(minutes=1)
        assert await refused(accounts, made.secret)


async def test_a_key_is_rotated_once_and_both_work_for_the_overlap(shared: Services, clock: MovableClock):
    async with accounts_of(shared, clock=clock) as accounts:
        by = Principal((await somebody(accounts)).id, "customer", CUSTOMER_SCOPES)
        old = await accounts.keys.create(by, name="robot", scopes=["orders:read"], rate_limit=7)
        key_id = old.row["_id"]
        hour = timedelta(hours=1)
        racing = [accounts.keys.rotate(key_id, account_id=by.account_id, overlap=hour) for _ in range(5)]
        outcomes = await asyncio.gather(*racing, return_exceptions=True)
        assert sum(isinstance(outcome, KeyNotRotatable) for outcome in outcomes) == 4
        (new,) = (outcome for outcome in outcomes if not isinstance(outcome, BaseException))
        assert (new.row["name"], new.row["scopes"], new.row["rate_limit"]) == ("robot", ["orders:read"], 7)
        for secret in (old.secret, new.secret):
            assert not await refused(accounts, secret)
        clock.move(hours=1)
        assert await refused(accounts, old.secret)
        assert not await refused(accounts, new.secret)


async def test_keys_are_their_accounts_alone_and_bounded(shared: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("domain.accounts.api_keys.MAX_KEYS", 2)
    async with accounts_of(shared) as accounts:
        by = Principal((await somebody(accounts)).id, "customer", CUSTOMER_SCOPES)
        first, _ = [await accounts.keys.create(by, name="robot", scopes=["orders:read"]) for _ in range(2)]
        with pytest.raises(TooManyKeys):
            await accounts.keys.create(by, name="robot", scopes=["orders:read"])
        key_id, stranger = first.row["_id"], "somebody else"
        hour = timedelta(hours=1)
        for refusal in (
            accounts.keys.get(key_id, account_id=stranger),
            accounts.keys.revoke(key_id, account_id=stranger),
            accounts.keys.rotate(key_id, account_id=stranger, overlap=hour),
        ):
            with pytest.raises(NotFound):
                await refusal
        assert not await refused(accounts, first.secret)
        await accounts.keys.revoke(key_id, account_id=by.account_id)
        await accounts.keys.create(by, name="robot", scopes=["orders:read"])
        with pytest.raises(KeyNotRotatable):
            await accounts.keys.rotate(key_id, account_id=by.account_id, overlap=hour)
