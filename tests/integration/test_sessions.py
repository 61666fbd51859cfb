"""Sessions on the real store: refresh tokens rotate, and a copy of one gives itself away."""

import asyncio

import pytest

from domain.accounts.models import SESSIONS
from domain.accounts.refresh_tokens import RefreshToken
from domain.accounts.service import Accounts
from domain.accounts.sessions import Device, LoggedIn
from domain.bootstrap import Services
from domain.errors import NotFound, RefreshTokenReused, Unauthenticated
from tests.conftest import MovableClock
from tests.people import LAPTOP, PASSWORD, PHONE, accounts_of, somebody


@pytest.fixture
async def session(accounts: Accounts) -> LoggedIn:
    return await accounts.log_in((await somebody(accounts)).email, PASSWORD, device=PHONE)


async def test_a_refresh_gives_new_tokens_of_the_same_session(
    accounts: Accounts, session: LoggedIn, clock: MovableClock
):
    clock.move(minutes=14)
    after = await accounts.sessions.refresh(session.refresh_token, PHONE)
    assert after.session_id == session.session_id
    assert after.refresh_token != session.refresh_token
    assert after.token != session.token
    assert after.refresh_expires_at > session.refresh_expires_at
    clock.move(minutes=14)
    assert (await accounts.authenticate(after.token)).session_id == session.session_id


async def test_nothing_that_opens_anything_is_kept(shared: Services, session: LoggedIn, accounts: Accounts):
    await accounts.sessions.refresh(session.refresh_token, PHONE)
    stored = repr(await shared.database[SESSIONS].find_one({"_id": session.session_id}))
    token = RefreshToken.read(session.refresh_token)
    assert token.hash in stored
    assert token.secret not in stored
    assert token.family not in stored


async def test_fifty_refreshes_at_once_replace_the_token_once(
    shared: Services, accounts: Accounts, session: LoggedIn, clock: MovableClock
):
    async with accounts_of(shared, clock=clock, listening=False) as other:
        racing = [
            process.sessions.refresh(session.refresh_token, PHONE)
            for _ in range(25)
            for process in (accounts, other)
        ]
        answers = await asyncio.gather(*racing)
    assert len({answer.refresh_token for answer in answers}) == 1
    row = await shared.database[SESSIONS].find_one({"_id": session.session_id})
    assert row is not None
    assert len(row["replaced"]) == 1
    clock.move(seconds=11)
    after = await accounts.sessions.refresh(answers[0].refresh_token, PHONE)
    assert after.refresh_token != answers[0].refresh_token


async def test_a_lost_answer_is_given_again_within_the_grace(
    accounts: Accounts, session: LoggedIn, clock: MovableClock
):
    first = await accounts.sessions.refresh(session.refresh_token, PHONE)
    second = await accounts.sessions.refresh(first.refresh_token, PHONE)
    clock.move(seconds=9)
    for token in (session.refresh_token, first.refresh_token):
        again = await accounts.sessions.refresh(token, PHONE)
        assert again.refresh_token == second.refresh_token


@pytest.mark.parametrize(("later", "device"), [(11, PHONE), (0, LAPTOP)])
async def test_a_token_that_was_replaced_ends_the_session_later_or_elsewhere(
    shared: Services,
    accounts: Accounts,
    session: LoggedIn,
    clock: MovableClock,
    *,
    later: int,
    device: Device,
):
    async with accounts_of(shared, clock=clock) as other:
        after = await accounts.sessions.refresh(session.refresh_token, PHONE)
        await other.authenticate(after.token)
        clock.move(seconds=later)
        for token in (session.refresh_token, after.refresh_token, session.refresh_token):
            with pytest.raises(RefreshTokenReused):
                await accounts.sessions.refresh(token, device)
        with pytest.raises(Unauthenticated):
            await accounts.authenticate(after.token)
        clock.move(seconds=5)
        with pytest.raises(Unauthenticated):
            await other.authenticate(after.token)


async def test_a_session_that_its_owner_ended_is_no_alarm(accounts: Accounts, session: LoggedIn):
    await accounts.sessions.end(session.session_id, account_id=session.account_id)
    with pytest.raises(Unauthenticated) as told:
        await accounts.sessions.refresh(session.refresh_token, PHONE)
    assert type(told.value) is Unauthenticated
    assert told.value.detail == {"reason": "session_ended"}


async def test_a_token_that_was_made_up_ends_nothing(accounts: Accounts, session: LoggedIn):
    token, other = RefreshToken.read(session.refresh_token), RefreshToken.first(session.session_id)
    for made_up in (other, RefreshToken(token.session_id, other.family, token.secret), "rt_x"):
        with pytest.raises(Unauthenticated) as told:
            await accounts.sessions.refresh(str(made_up), PHONE)
        assert (type(told.value), told.value.detail) == (Unauthenticated, {})
    await accounts.sessions.refresh(session.refresh_token, PHONE)


async def test_a_session_lasts_thirty_days_after_its_last_refresh(
    accounts: Accounts, session: LoggedIn, clock: MovableClock
):
    clock.move(days=29)
    after = await accounts.sessions.refresh(session.refresh_token, PHONE)
    clock.move(days=29)
    after = await accounts.sessions.refresh(after.refresh_token, PHONE)
    clock.move(days=30)
    with pytest.raises(Unauthenticated):
        await accounts.sessions.refresh(after.refresh_token, PHONE)


async def test_each_device_has_a_session_and_ends_alone(accounts: Accounts, session: LoggedIn):
    account = await accounts.get(session.account_id)
    laptop = await accounts.log_in(account.email, PASSWORD, device=LAPTOP)
    rows = await accounts.sessions.page(account.id, after=None, limit=10)
    assert [(row["device"], row["user_agent"], row["address"]) for row in rows] == [
        ("laptop", "laptop/1.0", "192.0.2.8"),
        ("phone", "phone/1.0", "192.0.2.7"),
    ]
    with pytest.raises(NotFound):
        await accounts.sessions.end(laptop.session_id, account_id="somebody else")
    await accounts.sessions.end(laptop.session_id, account_id=account.id)
    with pytest.raises(NotFound):
        await accounts.sessions.end(laptop.session_id, account_id=account.id)
    assert (await accounts.authenticate(session.token)).session_id == session.session_id
    assert await accounts.sessions.end_all(account.id) == 1
    assert await accounts.sessions.end_all(account.id) == 0


async def test_the_oldest_session_ends_for_one_too_many(
    accounts: Accounts, session: LoggedIn, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("domain.accounts.sessions.MAX_SESSIONS", 2)
    account = await accounts.get(session.account_id)
    for _ in range(2):
        await accounts.log_in(account.email, PASSWORD, device=LAPTOP)
    rows = await accounts.sessions.page(account.id, after=None, limit=10)
    assert [row["device"] for row in rows] == ["laptop", "laptop"]
    with pytest.raises(Unauthenticated):
        await accounts.authenticate(session.token)
