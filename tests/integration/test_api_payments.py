"""Webhooks of payment providers: who is believed, and what changes once (P1, P2)."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from domain.adapters.payments import COLLECTION, SandboxProvider
from domain.errors import OrderNotPayable
from domain.ports import ProviderTimeout
from domain.settings import Payments, Settings
from domain.values import Money, new_id
from tests.api import Api, open_api

OLD, NEW, OTHER = ("whsec_" + base64.b64encode(name * 8).decode() for name in (b"old!", b"new!", b"evil"))
PATH = "/v1/payments/webhooks/sandbox"


def with_payments(settings: Settings, **more: Any) -> Settings:
    chosen: dict[str, Any] = {"webhook_secrets": [OLD, NEW], "timeout": timedelta(seconds=2)} | more
    return settings.model_copy(update={"payments": Payments.model_validate(chosen)})


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with open_api(with_payments(settings)) as api:
        await api.shop.stock(A=10)
        yield api


async def call(
    api: Api,
    kind: str,
    *,
    webhook_id: str = "",
    secret: str = NEW,
    at: datetime | None = None,
    path: str = PATH,
    **facts: Any,
) -> httpx.Response:
    body = json.dumps({"type": kind, "timestamp": "2026-11-22T10:45:28Z", "data": facts, "more": 1})
    return await post(api, body, webhook_id=webhook_id or new_id(), secret=secret, at=at, path=path)


async def post(
    api: Api, body: str, *, webhook_id: str, secret: str, at: datetime | None = None, path: str = PATH
) -> httpx.Response:
    sent = at or datetime.now(UTC)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, sent, body),
        "content-type": "application/json",
    }
    return await api.client.post(path, content=body, headers=headers)


async def notices(api: Api) -> list[dict[str, Any]]:
    """The jobs of taken webhooks, each run to its end."""
    rows = await api.services.database["jobs"].find({"kind": "payments.notice"}).sort("_id").to_list()
    return [await api.shop.work(row["_id"]) if row["state"] == "queued" else row for row in rows]


async def tell(api: Api, kind: str, **facts: Any) -> dict[str, Any]:
    """A webhook that is taken and handled; its job."""
    assert (await call(api, kind, **facts)).json() == {"taken": True}
    return (await notices(api))[-1]


async def charge(api: Api, order_id: str, *, capture: bool = True) -> str:
    """A payment that has begun here, and that the provider has charged without telling us; its id."""
    payment_id = new_id()
    order = await api.services.database["orders"].find_one({"_id": order_id})
    assert order is not None
    row = {
        "_id": payment_id, "order_id": order_id, "state": "started", "amount": order["total"],
        "currency": "USD", "source": "sandbox:approve", "created_at": datetime.now(UTC),
    }  # fmt: skip
    await api.services.database["payments"].insert_one(row)
    provider = api.services.order_payments._provider
    await provider.authorise(key=payment_id, amount=Money(amount=order["total"]), source="sandbox:approve")
    if capture:
        await provider.capture(key=payment_id)
    return payment_id


async def repaid(api: Api, payment_id: str) -> int:
    row = await api.services.database[COLLECTION].find_one({"_id": payment_id})
    assert row is not None
    return sum((row.get("refunds") or {}).values())


async def told(api: Api) -> Counter[str]:
    return Counter(each["type"] for each in await api.services.events.after("ada", 0, limit=1000))


async def expired(api: Api, order_id: str) -> None:
    holds = api.services.database["holds"]
    past = datetime.now(UTC) - timedelta(seconds=1)
    await holds.update_one({"_id": order_id}, {"$set": {"expires_at": past, "due_at": past}})
    await api.services.orders.expire([order_id])
    assert (await api.shop.order(order_id))["state"] == "expired"


# -- who is believed --


async def test_a_call_that_nobody_we_know_has_signed_is_refused(api: Api, subtests: pytest.Subtests):
    now, late = datetime.now(UTC), timedelta(minutes=6)
    fine = json.dumps({"type": "payment.captured", "data": {"payment_id": "x"}})
    signature = Webhook(NEW).sign("id", now, fine)
    headers = {
        "webhook-id": "id",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    cases: dict[str, tuple[str, dict[str, str]]] = {
        "another body": (fine + " ", headers),
        "another id": (fine, headers | {"webhook-id": "other"}),
        "another time": (fine, headers | {"webhook-timestamp": str(int(now.timestamp()) + 1)}),
        "no time": (fine, headers | {"webhook-timestamp": "soon"}),
        "no number": (fine, headers | {"webhook-timestamp": "nan"}),
        "no signature": (fine, headers | {"webhook-signature": ""}),
        "no version": (fine, headers | {"webhook-signature": signature.removeprefix("v1,")}),
        "no base64": (fine, headers | {"webhook-signature": "v1,%%%"}),
        "a long id": (fine, headers | {"webhook-id": "x" * 151}),
        "nothing": (fine, {}),
    }
    for name, (body, sent) in cases.items():
        with subtests.test(name):
            answer = await api.client.post(
                PATH, content=body, headers=sent | {"content-type": "application/json"}
            )
            assert (answer.status_code, answer.json()["code"]) == (401, "webhook_refused")
    others: dict[str, dict[str, Any]] = {
        "stranger": {"secret": OTHER},
        "old": {"at": now - late},
        "early": {"at": now + late},
    }
    for name, more in others.items():
        with subtests.test(name):
            assert (await call(api, "payment.captured", payment_id="x", **more)).status_code == 401
    assert await notices(api) == []


async def test_two_secrets_are_live_while_they_rotate_and_without_any_no_call_is_taken(
    api: Api, settings: Settings
):
    for secret in (OLD, NEW):
        assert (await call(api, "payment.failed", secret=secret, payment_id="x")).status_code == 202
    async with open_api(with_payments(settings, webhook_secrets=[])) as closed:
        assert (await call(closed, "payment.failed", payment_id="x")).status_code == 401


async def test_another_provider_is_not_there(api: Api):
    answer = await call(api, "payment.failed", payment_id="x", path="/v1/payments/webhooks/acme")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_signed_body_that_makes_no_sense_is_refused_with_the_field(api: Api):
    answer = await call(api, "payment.captured", payment_id="x", amount=-1)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body.data.amount")
    assert (await post(api, "{", webhook_id="b", secret=NEW)).status_code == 400


async def test_a_webhook_id_that_comes_again_with_something_else_is_refused(api: Api):
    payment_id = await charge(api, (await api.shop.place(A=1))["id"])
    answers = [
        await call(api, "payment.captured", webhook_id="one", payment_id=payment_id, amount=amount)
        for amount in (1000, 999, 1000)
    ]
    assert [each.status_code for each in answers] == [202, 422, 202]
    assert answers[1].json()["code"] == "idempotency_key_reused"
    assert [job["result"]["order_state"] for job in await notices(api)] == ["paid"]


async def test_what_is_not_known_is_taken_and_left(api: Api):
    assert (await call(api, "customer.created", payment_id="x")).json() == {"taken": False}
    assert (await tell(api, "payment.captured", payment_id="x"))["result"] == {"ignored": "unknown_payment"}


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short", "whsec_\u00e9"])
def test_a_secret_that_is_none_is_refused_at_the_start(secret: str):
    with pytest.raises(ValueError, match="secret"):
        Payments(webhook_secrets=[secret])  # type: ignore[list-item]


# -- what changes --


async def test_a_capture_that_is_told_pays_the_order_once_however_often_it_is_told(api: Api):
    order = await api.shop.place(A=2)
    payment_id = await charge(api, order["id"])
    facts: dict[str, Any] = {"payment_id": payment_id, "amount": 2000, "currency": "USD"}
    answers = await asyncio.gather(
        *(call(api, "payment.captured", webhook_id="one", **facts) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {202}
    (job,) = await notices(api)
    assert job["result"] == {"order_id": order["id"], "order_state": "paid"}
    for _ in range(2):
        assert (await tell(api, "payment.captured", **facts))["result"] == {"ignored": "repeated"}
    shown = await api.shop.order(order["id"])
    assert (shown["state"], [each["state"] for each in shown["payments"]]) == ("paid", ["captured"])
    assert (await told(api))["order.paid"] == 1
    await api.shop.check_books()


async def test_an_authorisation_that_is_told_is_captured(api: Api):
    order = await api.shop.place(A=1)
    payment_id = await charge(api, order["id"], capture=False)
    assert (await tell(api, "payment.authorised", payment_id=payment_id))["result"]["order_state"] == "paid"
    assert (await tell(api, "payment.authorised", payment_id=payment_id))["result"] == {
        "ignored": "payment_ended"
    }


async def test_a_notice_and_our_own_capture_at_once_pay_once(api: Api):
    for _ in range(5):
        order = await api.shop.place(A=1)
        payment_id = await api.shop.submit_payment(order["id"])
        await call(api, "payment.captured", payment_id=payment_id, order_id=order["id"], amount=1000)
        await asyncio.gather(api.shop.work(payment_id), notices(api))
        assert (await api.shop.job(payment_id))["state"] == "succeeded"
        shown = await api.shop.order(order["id"])
        assert (shown["state"], [each["state"] for each in shown["payments"]]) == ("paid", ["captured"])
    assert (await told(api))["order.paid"] == 5
    await api.shop.check_books()


async def test_a_payment_that_was_made_without_us_is_written_down(api: Api):
    order = await api.shop.place(A=1)
    job = await tell(api, "payment.captured", payment_id="pi_1", order_id=order["id"], amount=1000)
    assert job["result"]["order_state"] == "paid"
    assert [each["id"] for each in (await api.shop.order(order["id"]))["payments"]] == ["pi_1"]


async def test_a_payment_that_comes_before_its_order_waits_for_it(api: Api):
    accepted = await api.shop.submit(A=1)
    early = await tell(api, "payment.captured", payment_id="pi_1", order_id=accepted.job_id, amount=1000)
    assert (early["state"], early["attempts"]) == ("queued", 0)
    await api.settle(accepted.job_id)
    assert [job["state"] for job in await notices(api)] == ["succeeded"]
    assert (await api.shop.order(accepted.job_id))["state"] == "paid"


async def test_a_capture_that_our_own_attempt_found_too_late_goes_back_when_it_is_told(api: Api):
    order = await api.shop.place(A=1)
    payment_id = await charge(api, order["id"])
    await expired(api, order["id"])
    with pytest.raises(OrderNotPayable):
        await api.services.order_payments.pay(
            order["id"], payment_id=payment_id, source="sandbox:approve", owner="ada"
        )
    assert (await api.shop.order(order["id"]))["payments"][0]["state"] == "captured"
    assert (await tell(api, "payment.captured", payment_id=payment_id))["result"]["late"] == "refunded"
    assert await repaid(api, payment_id) == 1000


async def test_another_amount_than_the_payments_is_for_people_to_see(api: Api):
    order = await api.shop.place(A=1)
    payment_id = await charge(api, order["id"])
    cases: list[dict[str, Any]] = [{"amount": 999}, {"currency": "EUR"}]
    for wrong in cases:
        job = await tell(api, "payment.captured", payment_id=payment_id, **wrong)
        assert (job["state"], job["error"]["code"]) == ("failed", "notice_mismatch")
    assert (await api.shop.order(order["id"]))["state"] == "reserved"


async def test_a_failure_that_is_told_before_or_after_the_capture_does_not_undo_it(api: Api):
    order = await api.shop.place(A=1)
    payment_id = await charge(api, order["id"])
    await tell(api, "payment.failed", payment_id=payment_id, reason="no funds")
    shown = await api.shop.order(order["id"])
    assert (shown["state"], shown["payments"][0]["reason"]) == ("reserved", "no funds")
    await tell(api, "payment.captured", payment_id=payment_id)
    assert (await tell(api, "payment.failed", payment_id=payment_id))["result"] == {"ignored": "paid"}
    shown = await api.shop.order(order["id"])
    assert (shown["state"], shown["payments"][0]["state"]) == ("paid", "captured")


async def test_a_failure_that_is_told_during_our_own_capture_does_not_hide_that_money_came(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    order, capture = await api.shop.place(A=1), SandboxProvider.capture

    async def late(provider: SandboxProvider, *, key: str) -> Any:
        await tell(api, "payment.failed", payment_id=key, order_id="another order")
        assert (await tell(api, "payment.failed", payment_id=key))["result"] == {"ignored": "paid"}
        await api.services.database["payments"].update_one({"_id": key}, {"$set": {"state": "declined"}})
        return await capture(provider, key=key)

    with monkeypatch.context() as patch:
        patch.setattr(SandboxProvider, "capture", late)
        await api.shop.pay(order["id"])
    assert (await api.shop.order(order["id"]))["payments"][0]["state"] == "captured"


async def test_a_payment_is_of_one_order_and_one_that_we_do_not_know_needs_its_amount(api: Api):
    first, second = await api.shop.place(A=1), await api.shop.place(A=1)
    payment_id = await charge(api, first["id"])
    for facts in (
        {"payment_id": payment_id, "order_id": second["id"]},
        {"payment_id": "pi_1", "order_id": second["id"]},
    ):
        job = await tell(api, "payment.captured", **facts)
        assert (job["state"], job["error"]["code"]) == ("failed", "notice_mismatch")
    assert [(await api.shop.order(each["id"]))["state"] for each in (first, second)] == ["reserved"] * 2


@pytest.mark.parametrize("known", [True, False])
async def test_a_refund_that_is_told_before_its_capture_waits_for_it(api: Api, *, known: bool):
    order = await api.shop.place(A=1)
    payment_id = await charge(api, order["id"]) if known else "pi_1"
    facts = {"payment_id": payment_id, "order_id": order["id"], "amount": 1000}
    assert (await tell(api, "payment.refunded", refund_id="re_1", **facts))["state"] == "queued"
    assert (await call(api, "payment.captured", **facts)).status_code == 202
    for _ in range(2):
        jobs = await notices(api)
    assert [job["result"]["order_state"] for job in jobs] == ["refunded", "paid"]
    shown = await api.shop.order(order["id"])
    assert (shown["state"], shown["payments"][0]["state"]) == ("refunded", "refunded")
    assert [each["state"] for each in shown["timeline"]] == [
        "pending",
        "reserved",
        "paid",
        "paid",
        "refunded",
    ]
    assert (await told(api)) == {
        "order.reserved": 1, "order.paid": 1, "payment.captured": 1, "order.refunded": 1,
    }  # fmt: skip
    await api.shop.check_books()


async def test_a_part_of_money_that_no_order_took_is_for_people_to_see(api: Api):
    order = await api.shop.place(A=1)
    payment_id = await charge(api, order["id"])
    await expired(api, order["id"])
    await api.services.database["payments"].update_one({"_id": payment_id}, {"$set": {"state": "voided"}})
    job = await tell(api, "payment.refunded", payment_id=payment_id, amount=400)
    assert job["error"]["code"] == "notice_mismatch"
    assert (await told(api))["payment.refunded"] == 0


async def test_money_that_comes_late_buys_what_an_expired_hold_still_has(settings: Settings):
    async with open_api(with_payments(settings, late="reserve")) as api:
        await api.shop.stock(A=1)
        order = await api.shop.place(A=1)
        payment_id = await charge(api, order["id"])
        await expired(api, order["id"])
        rival = await api.shop.place(owner="bob", A=1)
        past = datetime.now(UTC) - timedelta(seconds=1)
        gone = {"$set": {"expires_at": past, "due_at": past}}
        await api.services.database["holds"].update_one({"_id": rival["id"]}, gone)
        result = (await tell(api, "payment.captured", payment_id=payment_id))["result"]
        assert (result["late"], result["order_state"]) == ("reserved", "paid")
        assert (await api.shop.order(rival["id"]))["state"] == "expired"
        await api.shop.check_books()


async def test_money_that_comes_after_the_end_goes_back_and_the_customer_is_told(api: Api):
    first, second = await api.shop.place(A=1), await api.shop.place(A=1)
    payments = [await charge(api, each["id"]) for each in (first, second)]
    await expired(api, first["id"])
    await api.services.orders.cancel(second["id"], owner="ada")
    for payment_id, state in zip(payments, ("expired", "cancelled"), strict=True):
        result = (await tell(api, "payment.captured", payment_id=payment_id))["result"]
        assert (result["order_state"], result["late"]) == (state, "refunded")
        assert (await tell(api, "payment.captured", payment_id=payment_id))["result"] == {
            "ignored": "repeated"
        }
        await tell(api, "payment.refunded", payment_id=payment_id, amount=1000)
        assert await repaid(api, payment_id) == 1000
    assert (await told(api))["payment.refunded"] == 2
    assert (await api.shop.order(first["id"]))["payments"][0]["state"] == "refunded"
    await api.shop.check_books()


@pytest.mark.parametrize("left", [1, 0])
async def test_money_that_comes_late_buys_what_is_still_there_if_that_is_set(settings: Settings, left: int):
    async with open_api(with_payments(settings, late="reserve")) as api:
        await api.shop.stock(A=2)
        order = await api.shop.place(A=2)
        payment_id = await charge(api, order["id"])
        await expired(api, order["id"])
        if not left:
            await api.shop.place(owner="bob", A=1)
        result = (await tell(api, "payment.captured", payment_id=payment_id))["result"]
        shown = await api.shop.order(order["id"])
        if left:
            assert (result["late"], shown["state"], await repaid(api, payment_id)) == ("reserved", "paid", 0)
            assert [each["state"] for each in shown["timeline"][-3:]] == ["expired", "reserved", "paid"]
            assert await api.shop.levels("A") == (0, 0)
        else:
            assert (result["late"], shown["state"], await repaid(api, payment_id)) == (
                "refunded",
                "expired",
                2000,
            )
        await api.shop.check_books()


async def test_money_that_was_to_go_back_goes_back_although_the_stock_is_there_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    async with open_api(with_payments(settings, late="reserve")) as api:
        await api.shop.stock(A=1)
        order = await api.shop.place(A=1)
        payment_id = await charge(api, order["id"])
        await expired(api, order["id"])
        rival = await api.shop.place(owner="bob", A=1)

        async def silence(_: SandboxProvider, **__: Any) -> Any:
            raise ProviderTimeout(payment_id)

        with monkeypatch.context() as patch:
            patch.setattr(SandboxProvider, "refund", silence)
            assert (await tell(api, "payment.captured", payment_id=payment_id))["state"] == "queued"
        await api.services.orders.cancel(rival["id"], owner="bob")
        (job,) = await notices(api)
        assert job["result"]["late"] == "refunded"
        assert ((await api.shop.order(order["id"]))["state"], await repaid(api, payment_id)) == (
            "expired",
            1000,
        )


async def test_a_refund_that_was_made_at_the_provider_is_booked_once(api: Api):
    order = await api.shop.place(A=2)
    await api.shop.pay(order["id"])
    payment_id = (await api.shop.order(order["id"]))["payments"][0]["id"]
    for _ in range(2):
        job = await tell(api, "payment.refunded", payment_id=payment_id, refund_id="re_1", amount=500)
        assert job["result"]["order_state"] == "paid"
    over = await tell(api, "payment.refunded", payment_id=payment_id, refund_id="re_2", amount=1501)
    assert over["error"]["code"] == "notice_mismatch"
    last = await tell(api, "payment.refunded", payment_id=payment_id, refund_id="re_3", amount=1500)
    assert last["result"]["order_state"] == "refunded"
    assert [each["amount"] for each in (await api.shop.order(order["id"]))["refunds"]] == [500, 1500]
    assert (await told(api))["order.refunded"] == 2
