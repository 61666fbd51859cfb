"""Accounts on the real stack: registering, logging in, passwords, roles, signing keys."""

import asyncio
import json
import statistics
import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
from passlib.hash import bcrypt
from pydantic import SecretStr

from domain.accounts import access, service
from domain.accounts.keyring import new_pem
from domain.accounts.models import SIGNING_KEYS, Account, SigningKey
from domain.accounts.rules import CUSTOMER_SCOPES, ROLE_SCOPES, SCOPES, Principal
from domain.accounts.service import Accounts
from domain.accounts.sessions import Device
from domain.bootstrap import Services
from domain.errors import (
    EmailTaken,
    Forbidden,
    Invalid,
    NotFound,
    OpsAccount,
    SigningKeySet,
    StaleRevision,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from domain.settings import Auth
from domain.values import new_id, utcnow
from tests.conftest import MovableClock
from tests.factories import eventually
from tests.people import LAPTOP, PASSWORD, PHONE, accounts_of, somebody

OPS = Principal("ops", "ops", SCOPES)


@pytest.fixture
def email() -> str:
    return f"{new_id()}@example.com"


async def test_who_registers_is_a_customer(accounts: Accounts, email: str):
    account = await accounts.register(f" {email.upper()}", PASSWORD)
    assert (account.email, account.role) == (email, "customer")
    assert set(account.scopes) == CUSTOMER_SCOPES
    kept = await accounts.get(account.id)
    assert kept == account
    assert kept.created_at.tzinfo is not None


async def test_the_id_is_the_stores_own_id_and_the_password_is_nowhere(accounts: Accounts, email: str):
    account = await accounts.register(email, PASSWORD)
    [stored] = await Account.get_pymongo_collection().find({"email": email}).to_list()
    assert stored["_id"] == account.id
    assert "id" not in stored
    assert stored["password_hash"].startswith("$argon2id$")
    assert PASSWORD not in repr(stored)
    assert account.password_hash not in repr(account)


async def test_an_address_registers_once_however_it_is_written(accounts: Accounts, email: str):
    written = [email, email.upper(), f" {email}"] * 3
    outcomes = await asyncio.gather(
        *(accounts.register(address, PASSWORD) for address in written), return_exceptions=True
    )
    assert sum(isinstance(outcome, Account) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, EmailTaken) for outcome in outcomes) == 8


@pytest.mark.parametrize(
    ("address", "password", "reason"),
    [
        ("ada", PASSWORD, "email"),
        ("weak@example.com", "short", "weak_password"),
        ("weak@example.com", "x" * 300, "long_password"),
        ("weak@example.com", "password1234", "guessable_password"),
        ("weak@example.com", "aaaaaaaaaaaaaaaa", "guessable_password"),
        ("weak@example.com", "x" * 256, "guessable_password"),
        ("mariannegreen@example.com", "mariannegreen", "guessable_password"),
        ("ada@stockyard-lovers.example", "stockyard-lovers", "guessable_password"),
    ],
)
async def test_what_cannot_be_accepted_is_not_stored(
    accounts: Accounts, address: str, password: str, reason: str
):
    with pytest.raises(Invalid) as refused:
        await accounts.register(address, password)
    assert refused.value.detail["reason"] == reason
    assert await Account.find_one({"email": address}) is None


async def test_a_log_in_gives_a_token_that_says_who_came(accounts: Accounts, clock: MovableClock):
    account = await somebody(accounts)
    session = await accounts.log_in(f"{account.email.upper()} ", PASSWORD)
    assert timedelta(minutes=14) < session.expires_at - clock() <= timedelta(minutes=15)
    expected = Principal(account.id, "customer", CUSTOMER_SCOPES, session_id=session.session_id)
    assert await accounts.authenticate(session.token) == expected


@pytest.mark.parametrize(
    "password",
    ["wrong password", "", PASSWORD + " ", PASSWORD.upper(), "\ud800 half a character", "x" * 1_000_000],
)
async def test_any_other_password_is_refused_as_an_unknown_address_is(
    accounts: Accounts, email: str, password: str
):
    await accounts.register(email, PASSWORD)
    for address in (email, f"no-{email}", "no address"):
        with pytest.raises(Unauthenticated) as refused:
            await accounts.log_in(address, password)
        assert refused.value.detail == {}


async def test_the_time_of_a_refusal_does_not_tell_whether_the_account_exists(accounts: Accounts):
    known = (await somebody(accounts)).email

    async def refusal(address: str) -> float:
        began = time.perf_counter()
        with pytest.raises(Unauthenticated):
            await accounts.log_in(address, "wrong password")
        return time.perf_counter() - began

    pairs = [(await refusal(known), await refusal(f"no-{known}")) for _ in range(9)]
    there, nowhere = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert 0.4 < there / nowhere < 2.5


async def test_an_old_bcrypt_hash_works_and_is_replaced(accounts: Accounts):
    account = await somebody(accounts)
    await account.set({"password_hash": bcrypt.using(rounds=4).hash(PASSWORD)})
    with pytest.raises(Unauthenticated):
        await accounts.log_in(account.email, "wrong password")
    await accounts.log_in(account.email, PASSWORD)
    assert (await accounts.get(account.id)).password_hash.startswith("$argon2id$")
    await accounts.log_in(account.email, PASSWORD)


async def test_bcrypt_knows_the_first_72_bytes_and_what_replaces_it_all(accounts: Accounts):
    account, long = await somebody(accounts), "correct horse battery " * 4
    await account.set({"password_hash": bcrypt.using(rounds=4).hash(long[:72])})
    await accounts.log_in(account.email, long)
    with pytest.raises(Unauthenticated):
        await accounts.log_in(account.email, long[:72])
    await accounts.log_in(account.email, long)


@pytest.mark.parametrize("kept", ["", "plain text", "$argon2id$broken", "$2b$04$short"])
async def test_a_stored_hash_that_is_none_lets_nobody_in(accounts: Accounts, kept: str):
    account = await somebody(accounts)
    await account.set({"password_hash": kept})
    for password in (kept, PASSWORD, "nobody's password"):
        with pytest.raises(Unauthenticated):
            await accounts.log_in(account.email, password)


async def test_hashing_does_not_hold_the_event_loop_up(accounts: Accounts):
    email = (await somebody(accounts)).email
    work = asyncio.gather(*(accounts.log_in(email, PASSWORD) for _ in range(8)))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    await work
    assert turns > 50


# -- changing the password ---------------------------------------------------------------------------


async def test_a_new_password_ends_the_other_sessions(accounts: Accounts):
    account = await somebody(accounts)
    phone = await accounts.log_in(account.email, PASSWORD, device=PHONE)
    laptop = await accounts.log_in(account.email, PASSWORD, device=LAPTOP)
    by = await accounts.authenticate(laptop.token)
    await accounts.change_password(by, PASSWORD, "seventeen green bicycles")
    assert await accounts.authenticate(laptop.token) == by
    for refused in (accounts.authenticate(phone.token), accounts.log_in(account.email, PASSWORD)):
        with pytest.raises(Unauthenticated):
            await refused
    with pytest.raises(Unauthenticated):
        await accounts.sessions.refresh(phone.refresh_token, PHONE)
    await accounts.log_in(account.email, "seventeen green bicycles")


@pytest.mark.parametrize(
    ("current", "new", "reason"),
    [
        ("wrong password", "seventeen green bicycles", "wrong_password"),
        (PASSWORD, "short", "weak_password"),
        (PASSWORD, "password1234", "guessable_password"),
    ],
)
async def test_a_password_that_cannot_be_changed_stays(
    accounts: Accounts, current: str, new: str, reason: str
):
    account = await somebody(accounts)
    session = await accounts.log_in(account.email, PASSWORD)
    with pytest.raises(Invalid) as refused:
        await accounts.change_password(await accounts.authenticate(session.token), current, new)
    assert refused.value.detail["reason"] == reason
    await accounts.log_in(account.email, PASSWORD)


async def test_the_other_sessions_end_also_where_the_process_does_once_the_password_is_changed(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
):
    account = await somebody(accounts)
    phone = await accounts.log_in(account.email, PASSWORD, device=PHONE)
    laptop = await accounts.log_in(account.email, PASSWORD, device=LAPTOP)
    by = await accounts.authenticate(laptop.token)
    write = accounts._password_changes.write

    async def write_and_end(*told: Any, **more: Any) -> None:
        await write(*told, **more)
        raise ConnectionError("the process is gone")

    monkeypatch.setattr(accounts._password_changes, "write", write_and_end)
    with pytest.raises(ConnectionError):
        await accounts.change_password(by, PASSWORD, "seventeen green bicycles")
    with pytest.raises(Unauthenticated):
        await accounts.authenticate(phone.token)
    assert await accounts.authenticate(laptop.token) == by
    await accounts.log_in(account.email, "seventeen green bicycles")


async def test_no_log_in_with_the_old_password_outlives_its_change(accounts: Accounts):
    account = await somebody(accounts)
    session = await accounts.log_in(account.email, PASSWORD)
    by = await accounts.authenticate(session.token)
    racing = [accounts.log_in(account.email, PASSWORD) for _ in range(6)]
    changing = accounts.change_password(by, PASSWORD, "seventeen green bicycles")
    *came, changed = await asyncio.gather(*racing, changing, return_exceptions=True)
    assert changed is None
    assert all(not isinstance(each, BaseException) or isinstance(each, Unauthenticated) for each in came)
    live = await accounts.sessions.page(account.id, after=None, limit=50)
    assert [row["_id"] for row in live] == [session.session_id]


# -- throttling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False])
async def test_failed_log_ins_make_the_next_ones_wait_whether_or_not_there_is_an_account(
    shared: Services, email: str, *, there: bool
):
    async with accounts_of(shared, listening=False, login_attempts=3) as accounts:
        if there:
            await accounts.register(email, PASSWORD)
        tries = [accounts.log_in(email, "wrong password") for _ in range(12)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(outcome, Unauthenticated) for outcome in outcomes) == 4
        waits = [each.detail for each in outcomes if isinstance(each, TooManyRequests)]
        assert waits == [{"retry_after": 1}] * 8
        with pytest.raises(TooManyRequests):
            await accounts.log_in(email, PASSWORD)


async def test_a_right_password_forgets_the_failures(shared: Services, email: str):
    async with accounts_of(shared, listening=False, login_attempts=3) as accounts:
        await accounts.register(email, PASSWORD)
        for _ in range(3):
            for _ in range(2):
                with pytest.raises(Unauthenticated):
                    await accounts.log_in(email, "wrong password")
            await accounts.log_in(email, PASSWORD)


async def test_an_address_that_tries_many_accounts_waits(shared: Services):
    device = Device(address=f"2001:db8:{new_id()[:4]}::1")
    async with accounts_of(shared, listening=False, address_attempts=3) as accounts:
        for _ in range(4):
            with pytest.raises(Unauthenticated):
                await accounts.log_in(f"{new_id()}@example.com", "wrong password", device=device)
        account = await somebody(accounts)
        with pytest.raises(TooManyRequests):
            await accounts.log_in(account.email, PASSWORD, device=device)
        with pytest.raises(TooManyRequests):
            await accounts.register(f"{new_id()}@example.com", PASSWORD, device=device)
        await accounts.log_in(account.email, PASSWORD, device=PHONE)


async def test_who_asks_which_addresses_are_taken_has_to_wait(shared: Services):
    device = Device(address=new_id())
    async with accounts_of(shared, listening=False, address_attempts=1) as accounts:
        account = await somebody(accounts)
        for expected in (EmailTaken, EmailTaken, TooManyRequests):
            with pytest.raises(expected):
                await accounts.register(account.email, PASSWORD, device=device)


async def test_an_address_guesses_at_once_no_more_than_in_a_row(shared: Services):
    device = Device(address=new_id())
    async with accounts_of(shared, listening=False, address_attempts=3) as accounts:
        tries = [accounts.log_in(f"{new_id()}@example.com", "wrong", device=device) for _ in range(12)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(outcome, Unauthenticated) for outcome in outcomes) == 4
        assert sum(isinstance(outcome, TooManyRequests) for outcome in outcomes) == 8


async def test_who_comes_in_does_not_use_up_the_tries_of_the_address(shared: Services):
    device = Device(address=new_id())
    async with accounts_of(shared, listening=False, address_attempts=1) as accounts:
        account = await somebody(accounts)
        for _ in range(2):
            for _ in range(3):
                await accounts.log_in(account.email, PASSWORD, device=device)
            await accounts.register(f"{new_id()}@example.com", PASSWORD, device=device)
            with pytest.raises(Unauthenticated):
                await accounts.log_in(account.email, "wrong password", device=device)
        with pytest.raises(TooManyRequests):
            await accounts.log_in(account.email, PASSWORD, device=device)


async def test_an_owner_whose_account_is_under_attack_can_change_the_password(
    shared: Services, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("domain.accounts.throttle.FIRST", 60.0)
    at_home, elsewhere = (Device(address=new_id()) for _ in range(2))
    async with accounts_of(shared, listening=False, login_attempts=1, address_attempts=99) as accounts:
        account = await somebody(accounts)
        session = await accounts.log_in(account.email, PASSWORD, device=at_home)
        for refusal in (Unauthenticated, Unauthenticated, TooManyRequests):
            with pytest.raises(refusal):
                await accounts.log_in(account.email, "wrong password", device=elsewhere)
        owner = await accounts.authenticate(session.token)
        await accounts.change_password(owner, PASSWORD, "another battery of horses", device=at_home)
        await accounts.log_in(account.email, "another battery of horses", device=at_home)


async def test_nobody_keeps_the_owner_out_by_failing(shared: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("domain.accounts.throttle.FIRST", 60.0)
    at_home, elsewhere = (Device(address=new_id()) for _ in range(2))
    async with accounts_of(shared, listening=False, login_attempts=1, address_attempts=99) as accounts:
        account = await somebody(accounts)
        await accounts.log_in(account.email, PASSWORD, device=at_home)

        async def hammer(device: Device) -> list[type]:
            tries = [accounts.log_in(account.email, "wrong password", device=device) for _ in range(6)]
            return [type(each) for each in await asyncio.gather(*tries, return_exceptions=True)]

        assert (await hammer(elsewhere)).count(Unauthenticated) == 2
        await accounts.log_in(account.email, PASSWORD, device=at_home)
        assert (await hammer(elsewhere)).count(Unauthenticated) == 2
        assert (await hammer(at_home)).count(Unauthenticated) == 2
        for device in (at_home, elsewhere):
            with pytest.raises(TooManyRequests):
                await accounts.log_in(account.email, PASSWORD, device=device)


async def test_too_many_who_wait_for_a_hash_are_told_to_come_again(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("domain.accounts.passwords.MOST_WAITING", 3)
    tries = [accounts.log_in(f"{new_id()}@example.com", "wrong password") for _ in range(9)]
    outcomes = [type(each) for each in await asyncio.gather(*tries, return_exceptions=True)]
    assert Unavailable in outcomes
    assert outcomes.count(Unauthenticated) >= 3
    with pytest.raises(Unauthenticated):
        await accounts.log_in(f"{new_id()}@example.com", "wrong password")


# -- roles, scopes and groups ------------------------------------------------------------------------


async def test_the_command_line_makes_ops_accounts(accounts: Accounts, email: str):
    await accounts.create_ops(email, PASSWORD)
    principal = await accounts.authenticate((await accounts.log_in(email, PASSWORD)).token)
    assert (principal.role, principal.scopes) == ("ops", SCOPES)
    with pytest.raises(EmailTaken):
        await accounts.create_ops(email, PASSWORD)


async def test_a_grant_adds_scopes_once_from_the_next_token_on(accounts: Accounts):
    account = await somebody(accounts)
    session = await accounts.log_in(account.email, PASSWORD, device=PHONE)
    for _ in range(2):
        granted = await accounts.grant(account.id, ["orders:price"])
        assert sorted(granted.scopes) == ["orders:price", "orders:read", "orders:write"]
    assert not (await accounts.authenticate(session.token)).may("orders:price")
    refreshed = await accounts.sessions.refresh(session.refresh_token, PHONE)
    assert (await accounts.authenticate(refreshed.token)).may("orders:price")


async def test_a_grant_needs_known_scopes_and_an_account(accounts: Accounts):
    account = await somebody(accounts)
    with pytest.raises(Invalid):
        await accounts.grant(account.id, ["orders:price", "root"])
    assert set((await accounts.get(account.id)).scopes) == CUSTOMER_SCOPES
    with pytest.raises(NotFound):
        await accounts.grant("nobody", ["orders:price"])


async def test_a_role_brings_its_scopes_and_takes_them_at_once(accounts: Accounts):
    account = await somebody(accounts)
    staff = await accounts.change(account.id, OPS, role="staff", groups=["wholesale", "vip", "vip"])
    assert (frozenset(staff.scopes), staff.groups) == (ROLE_SCOPES["staff"], ["vip", "wholesale"])
    session = await accounts.log_in(account.email, PASSWORD)
    assert (await accounts.authenticate(session.token)).may("ops:read")
    await accounts.change(account.id, OPS, role="customer")
    principal = await accounts.authenticate(session.token)
    assert (principal.role, principal.scopes) == ("customer", CUSTOMER_SCOPES)


async def test_only_ops_set_roles_and_scopes_and_none_that_they_have_not(accounts: Accounts, email: str):
    account = await somebody(accounts)
    staff = Principal("staff", "staff", SCOPES)
    half = Principal("half", "ops", frozenset({"ops:write"}))
    cases: list[tuple[Principal, dict[str, Any], type[Exception]]] = [
        (staff, {"role": "staff"}, Forbidden),
        (staff, {"scopes": ["orders:price"]}, Forbidden),
        (half, {"scopes": ["orders:price"]}, Forbidden),
        (half, {"role": "staff"}, Forbidden),
        (OPS, {"scopes": ["root"]}, Invalid),
        (OPS, {"groups": ["No Such"]}, Invalid),
    ]
    for by, change, refused in cases:
        with pytest.raises(refused):
            await accounts.change(account.id, by, **change)
    await accounts.change(account.id, staff, groups=["vip"])
    ops = await accounts.create_ops(email, PASSWORD)
    for by, change in ((OPS, {"role": "customer"}), (staff, {"groups": ["vip"]})):
        with pytest.raises(OpsAccount):
            await accounts.change(ops.id, by, **change)
    await accounts.change(account.id, OPS, role="staff")
    assert (await accounts.change(account.id, half, role="customer")).role == "customer"
    with pytest.raises(NotFound):
        await accounts.change("nobody", OPS, groups=[])


async def test_two_changes_that_saw_the_same_account_are_not_both_made(accounts: Accounts):
    account = await somebody(accounts)
    seen = frozenset({account.revision})
    racing = [accounts.change(account.id, OPS, expected=seen, groups=[f"g{n}"]) for n in range(5)]
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    assert sum(isinstance(outcome, StaleRevision) for outcome in outcomes) == 4


async def test_groups_of_many_accounts_come_by_one_read(accounts: Accounts):
    people = [await somebody(accounts) for _ in range(2)]
    await accounts.change(people[0].id, OPS, groups=["vip"])
    found = await accounts.groups_of([*(each.id for each in people), "nobody"])
    assert found == {people[0].id: frozenset({"vip"}), people[1].id: frozenset(), "nobody": frozenset()}
    assert await accounts.groups_of([]) == {}


# -- signing keys ------------------------------------------------------------------------------------


async def test_racing_processes_without_a_set_key_share_one(shared: Services):
    await SigningKey.get_pymongo_collection().delete_many({})
    ports: dict[str, Any] = {
        "database": shared.database,
        "cache": shared.signals._cache,
        "pubsub": shared.pubsub,
        "limiter": shared.accounts.limiter,
    }
    services = await asyncio.gather(*(Accounts.open(Auth(), **ports) for _ in range(4)))
    assert await SigningKey.count() == 1
    assert len({json.dumps(each.jwks()) for each in services}) == 1
    account = await somebody(services[0])
    token = (await services[0].log_in(account.email, PASSWORD)).token
    assert (await services[3].authenticate(token)).account_id == account.id
    for each in services:
        each.close()


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def test_a_key_of_a_version_that_did_not_rotate_still_signs(shared: Services, clock: MovableClock):
    async with accounts_of(shared, listening=False) as accounts:
        session = await accounts.log_in((await somebody(accounts)).email, PASSWORD)
    await shared.database[SIGNING_KEYS].update_many({}, {"$set": {"signs_from": None}})
    async with accounts_of(shared, listening=False) as accounts:
        assert (await accounts.authenticate(session.token)).session_id == session.session_id


async def test_keys_rotate_under_running_processes_and_log_nobody_out(
    shared: Services, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service, "RING_READ", 0.05)
    async with accounts_of(shared, clock=clock) as one, accounts_of(shared, clock=clock) as other:
        account = await somebody(one)
        before = await one.log_in(account.email, PASSWORD, device=PHONE)
        signs_from = await other.rotate_signing_key(lead=timedelta(minutes=10))
        assert signs_from == pytest.approx(clock() + timedelta(minutes=10), abs=timedelta(seconds=5))
        await eventually(lambda: len(one.jwks()["keys"]) == 2)
        waiting = await one.sessions.refresh(before.refresh_token, PHONE)
        assert kid(waiting.token) == kid(before.token)

        clock.move(minutes=10)
        await eventually(lambda: one._tokens.ring._kid != kid(before.token))
        after = await one.sessions.refresh(waiting.refresh_token, PHONE)
        await eventually(lambda: other._tokens.ring._kid == kid(after.token))
        for token in (waiting.token, after.token):
            assert (await other.authenticate(token)).account_id == account.id

        clock.move(minutes=17)
        await eventually(lambda: len(one.jwks()["keys"]) == 1)
        last = await one.sessions.refresh(after.refresh_token, PHONE)
        assert kid(last.token) == kid(after.token)


async def test_a_key_that_leaked_is_dropped_at_once(shared: Services):
    async with accounts_of(shared) as one, accounts_of(shared) as other:
        account = await somebody(one)
        session = await one.log_in(account.email, PASSWORD, device=PHONE)
        await other.authenticate(session.token)
        old = one._tokens.ring.kids
        await one.rotate_signing_key(lead=timedelta(), at_once=True)
        await eventually(lambda: not old & one._tokens.ring.kids and not old & other._tokens.ring.kids)
        for process in (one, other):
            with pytest.raises(Unauthenticated):
                await process.authenticate(session.token)
        refreshed = await other.sessions.refresh(session.refresh_token, PHONE)
        assert (await one.authenticate(refreshed.token)).account_id == account.id


async def test_keys_of_the_settings_are_rotated_there(shared: Services):
    async with accounts_of(shared, listening=False, signing_key=SecretStr(new_pem())) as accounts:
        with pytest.raises(SigningKeySet):
            await accounts.rotate_signing_key(lead=timedelta())


async def test_remembered_credentials_are_bounded(accounts: Accounts, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(access, "REMEMBERED", 3)
    account = await somebody(accounts)
    for _ in range(6):
        session = await accounts.log_in(account.email, PASSWORD)
        await accounts.authenticate(session.token)
    assert (len(accounts._access._known), len(accounts._access._held)) == (3, 3)
    assert utcnow() < session.expires_at
