"""The page on webhooks: requests are answered as it says, its code verifies, its tables are the code's."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import WebhookVerificationError

from domain.adapters.webhooks import FAILURES
from domain.events.rules import rfc3339
from domain.notifications.webhooks import rules
from domain.values import new_id, parse_duration, utcnow
from ops.environment import settings_of
from ops.stack import Stack
from tests.api import open_api
from tests.conftest import environment_on
from tests.curl import follow, requests_of
from tests.receiver import Call, Receiver, answer, receiving
from tests.unit.test_docs import ROOT, blocks, table
from tests.webhooks import LOCAL, Post

PAGE = ROOT / "docs/webhooks.md"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def test_every_request_is_answered_as_the_page_says(stack: Stack, receiver: Receiver):
    async with open_api(settings_of(environment_on(stack) | LOCAL)) as api:
        user, post = api.user("webhooks:write"), Post(api.services, receiver)
        hour_ago = rfc3339(utcnow() - timedelta(hours=1))
        variables = {"TOKEN": user.token, "HOOK": receiver.url(), "HOUR_AGO": hour_ago}

        async def before(command: str) -> None:
            """What happens in the shop meanwhile."""
            if "deliveries?state=failed" in command:
                await post.happen(user.id)
                await post.send(await endpoint())
                receiver.answers["/"] = answer(410, "we have moved")
                await post.happen(user.id)
                (_, failed) = await post.jobs(await endpoint())
                await api.shop.work(failed["_id"])
                variables["DELIVERY"] = failed["_id"]

        async def endpoint() -> dict[str, Any]:
            return await api.services.webhooks.endpoints.get(variables["ENDPOINT"], owner=user.id)

        async def after(answered: httpx.Response) -> None:
            if answered.status_code == 201:
                variables["ENDPOINT"] = answered.json()["id"]
            if answered.status_code == 202:
                variables["JOB"] = answered.json()["job_id"]
                await api.shop.work(variables["JOB"])

        await follow(api.client, PAGE.read_text(encoding="utf-8"), variables, before=before, after=after)


def test_every_request_is_an_example_with_an_answer():
    assert requests_of(PAGE.read_text(encoding="utf-8")) > 10


def test_the_schedule_is_the_codes():
    rows = table(PAGE, "schedule")
    assert [int(number) for number, _ in rows] == list(range(1, rules.ATTEMPTS))
    assert [parse_duration(pause) for _, pause in rows] == list(rules.PAUSES)


def test_every_error_of_a_call_is_listed():
    assert {name.strip("`") for name, _ in table(PAGE, "faults")} == {code for code, _ in FAILURES}


# -- the code that verifies --------------------------------------------------------------------------


def call(*secrets: str) -> Call:
    event: dict[str, Any] = {
        "_id": new_id(), "account_id": "ada", "seq": 1, "type": "order.paid", "subject": "o-1",
        "time": utcnow(), "data": {"note": "caf\u00e9"},
    }  # fmt: skip
    body = rules.body_of(event)
    headers = rules.headers_of(body, event_id=event["_id"], secrets=secrets, at=utcnow())
    return Call("/", {name.lower(): value for name, value in headers.items()}, body.encode())


def test_the_python_code_verifies():
    (code,) = blocks(PAGE, "python")
    names: dict[str, Any] = {}
    exec(compile(code, "verify.py", "exec"), names)  # noqa: S102 - our own page
    new, old = rules.new_secret(), rules.new_secret()
    sent = call(new, old)
    for secret in (new, old):
        assert names["verified"](secret, sent.body, sent.headers)["type"] == "order.paid"
    with pytest.raises(WebhookVerificationError):
        names["verified"](new, sent.body.replace(b"paid", b"lost"), sent.headers)
    with pytest.raises(WebhookVerificationError):
        names["verified"](rules.new_secret(), sent.body, sent.headers)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_the_node_code_verifies(tmp_path: Path):
    (code,) = blocks(PAGE, "js")
    (tmp_path / "verify.mjs").write_text(code, encoding="utf-8")
    (tmp_path / "cases.mjs").write_text(
        """
        import { readFileSync } from "node:fs";
        import { verified } from "./verify.mjs";
        const found = JSON.parse(readFileSync(0)).map(([secret, body, headers]) => {
          try { return verified(secret, Buffer.from(body), headers).type; }
          catch (error) { return error.message; }
        });
        console.log(JSON.stringify(found));
        """,
        encoding="utf-8",
    )
    new, old = rules.new_secret(), rules.new_secret()
    sent = call(new, old)
    body, headers = sent.body.decode(), sent.headers
    late = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)}
    cases = [
        [new, body, headers],
        [old, body, headers],
        [rules.new_secret(), body, headers],
        [new, body.replace("paid", "lost"), headers],
        [new, body, late],
        [new, body, headers | {"webhook-timestamp": "soon"}],
        [new, body, headers | {"webhook-signature": "v1, v2,x v1"}],
    ]
    ran = subprocess.run(
        ["node", "cases.mjs"],
        cwd=tmp_path,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    unsigned = "not signed by the shop"
    assert json.loads(ran.stdout) == [
        "order.paid", "order.paid", unsigned, unsigned, *["too old, or too new"] * 2, unsigned,
    ], ran.stderr  # fmt: skip
