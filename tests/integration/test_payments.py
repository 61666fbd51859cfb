"""The payment provider: the fake and the sandbox run the same cases."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from domain.adapters.payments import COLLECTION, SandboxProvider
from domain.ports import Charge, PaymentProvider, ProviderTimeout, Repaid
from domain.values import Money, new_id
from ops.servers.mongo import Mongo
from ops.stack import Stack
from tests.fakes import FakeProvider

AMOUNT = Money(amount=12_50)


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongo]:
    """A store of this module's own, to be stopped."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("STOCKYARD_")}
    stack = Stack("rd", tmp_path_factory.mktemp("stack"), environ=own)
    stack.mongo.start()
    yield stack.mongo
    stack.wipe()


@pytest.fixture
async def database(mongo: Mongo) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    mongo.start()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo.url, tz_aware=True)
    yield client["payments"]
    await client.close()


@dataclass
class Company:
    """A provider, another process's view of the same company, and how it stops answering."""

    provider: PaymentProvider
    elsewhere: PaymentProvider
    go_away: Callable[[], None]


@pytest.fixture(params=["fake", "sandbox"])
def company(request: pytest.FixtureRequest) -> Company:
    if request.param == "fake":
        fake = FakeProvider()
        return Company(fake, fake, lambda: setattr(fake, "away", True))
    database = request.getfixturevalue("database")
    server: Mongo = request.getfixturevalue("mongo")
    one, two = (SandboxProvider(database, timeout=timedelta(seconds=2)) for _ in range(2))
    return Company(one, two, server.kill)


@pytest.fixture
def key() -> str:
    return new_id()


async def authorise(provider: PaymentProvider, key: str, source: str = "sandbox:approve") -> Charge:
    return await provider.authorise(key=key, amount=AMOUNT, source=source)


async def test_an_approved_charge_is_authorised_and_found(company: Company, key: str):
    charge = await authorise(company.provider, key)
    assert (charge.key, charge.status, charge.reason) == (key, "authorised", None)
    assert charge.reference
    assert await company.elsewhere.find(key) == charge


async def test_a_key_that_was_never_used_is_not_found(company: Company, key: str):
    assert await company.provider.find(key) is None


@pytest.mark.parametrize(
    ("source", "reason"),
    [("sandbox:decline", "declined_by_issuer"), ("sandbox:what", "unknown_source"), ("", "unknown_source")],
)
async def test_a_declined_charge_stays_declined(company: Company, key: str, source: str, reason: str):
    declined = await authorise(company.provider, key, source)
    assert (declined.status, declined.reason) == ("declined", reason)
    assert await authorise(company.provider, key, "sandbox:approve") == declined
    assert await company.provider.capture(key=key) == declined
    assert await company.provider.void(key=key) == declined


async def test_one_key_makes_one_charge(company: Company, key: str):
    providers = [company.provider, company.elsewhere] * 10
    charges = await asyncio.gather(*(authorise(provider, key) for provider in providers))
    assert set(charges) == {await company.provider.find(key)}


async def test_an_authorisation_that_arrives_twice_makes_one_charge(company: Company, key: str):
    charge = await authorise(company.provider, key, "sandbox:twice")
    assert charge.status == "authorised"
    assert await company.provider.find(key) == charge


async def test_an_answer_that_is_lost_can_be_asked_for(company: Company, key: str):
    with pytest.raises(ProviderTimeout):
        await authorise(company.provider, key, "sandbox:timeout")
    found = await company.elsewhere.find(key)
    assert found is not None
    assert found.status == "authorised"
    assert await authorise(company.elsewhere, key, "sandbox:timeout") == found


async def test_a_request_that_is_lost_was_never_seen_and_works_the_second_time(company: Company, key: str):
    with pytest.raises(ProviderTimeout):
        await authorise(company.provider, key, "sandbox:timeout-unseen")
    assert await company.elsewhere.find(key) is None
    assert (await authorise(company.elsewhere, key, "sandbox:timeout-unseen")).status == "authorised"
    assert (await company.elsewhere.capture(key=key)).status == "captured"


async def test_a_capture_happens_once_and_cannot_be_voided(company: Company, key: str):
    charge = await authorise(company.provider, key)
    captured = await company.provider.capture(key=key)
    assert captured == Charge(key, charge.reference, "captured")
    assert await company.elsewhere.capture(key=key) == captured
    assert await company.elsewhere.void(key=key) == captured
    assert await authorise(company.provider, key) == captured


async def test_a_voided_charge_cannot_be_captured(company: Company, key: str):
    await authorise(company.provider, key)
    voided = await company.provider.void(key=key)
    assert voided.status == "voided"
    assert await company.elsewhere.void(key=key) == voided
    assert await company.elsewhere.capture(key=key) == voided


async def test_a_capture_that_races_a_void_has_one_outcome(company: Company):
    for key in [new_id() for _ in range(10)]:
        await authorise(company.provider, key)
        ends = await asyncio.gather(company.provider.capture(key=key), company.elsewhere.void(key=key))
        assert len({charge.status for charge in ends}) == 1


async def test_captured_money_is_paid_back_in_parts_and_each_part_once(company: Company, key: str):
    await authorise(company.provider, key)
    await company.provider.capture(key=key)
    for _ in range(2):
        one = await company.provider.refund(key=key, amount=Money(amount=1000), refund_key=f"{key}-1")
        assert one == Repaid(f"{key}-1", "refunded")
    over = await company.elsewhere.refund(key=key, amount=Money(amount=251), refund_key=f"{key}-2")
    assert over == Repaid(f"{key}-2", "refused", "more_than_captured")
    rest = await company.elsewhere.refund(key=key, amount=Money(amount=250), refund_key=f"{key}-2")
    assert rest.status == "refunded"


async def test_refunds_at_once_never_pay_back_more_than_was_captured(company: Company, key: str):
    await authorise(company.provider, key)
    await company.provider.capture(key=key)
    both = (company.provider, company.elsewhere)
    answers = await asyncio.gather(
        *(both[n % 2].refund(key=key, amount=Money(amount=500), refund_key=f"{key}-{n}") for n in range(6)),
        return_exceptions=True,
    )
    made = [each for each in answers if isinstance(each, Repaid) and each.status == "refunded"]
    assert len(made) == 2


async def test_what_was_not_captured_is_not_paid_back(company: Company, key: str):
    async def refusal(money: Money) -> str | None:
        return (await company.provider.refund(key=key, amount=money, refund_key=key)).reason

    assert await refusal(AMOUNT) == "unknown_charge"
    await authorise(company.provider, key)
    assert await refusal(AMOUNT) == "not_captured"
    await company.provider.capture(key=key)
    assert await refusal(Money(amount=1, currency="EUR")) == "other_currency"


async def test_what_was_never_authorised_cannot_be_captured(company: Company, key: str):
    charge = await company.provider.capture(key=key)
    assert (charge.status, charge.reason) == ("declined", "unknown_charge")
    assert await company.provider.find(key) is None


@pytest.mark.parametrize("source", ["sandbox:approve", "sandbox:timeout-unseen"])
async def test_an_authorisation_that_arrives_after_its_void_charges_nothing(
    company: Company, key: str, source: str
):
    if source == "sandbox:timeout-unseen":
        with pytest.raises(ProviderTimeout):
            await authorise(company.provider, key, source)
    assert (await company.provider.void(key=key)).status == "voided"
    assert (await authorise(company.elsewhere, key, source)).status == "voided"


async def test_a_company_that_does_not_answer_is_a_timeout(company: Company, key: str):
    await authorise(company.provider, key)
    company.go_away()
    answers = await asyncio.gather(
        authorise(company.provider, key),
        company.provider.find(key),
        company.provider.capture(key=key),
        company.provider.void(key=key),
        company.provider.refund(key=key, amount=AMOUNT, refund_key=key),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [ProviderTimeout] * 5


async def test_charges_survive_a_kill_of_the_store(
    mongo: Mongo, database: AsyncDatabase[dict[str, Any]], key: str
):
    provider = SandboxProvider(database, timeout=timedelta(seconds=10))
    await authorise(provider, key, "sandbox:twice")
    captured = await provider.capture(key=key)
    mongo.kill()
    mongo.start()
    assert await provider.find(key) == captured
    assert await database[COLLECTION].count_documents({"_id": key}) == 1
