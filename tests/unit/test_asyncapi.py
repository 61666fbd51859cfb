"""What is told is documented from the models that it is checked against, as AsyncAPI has it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, ValidationError

from api.asyncapi import document, example
from domain.bootstrap import DECLARED
from domain.events import registry
from domain.events.models import NewEvent
from domain.events.rules import SHOP, messages
from domain.events.service import _document
from domain.jobs.models import Claimed
from domain.notifications.webhooks.rules import body_of, headers_of, new_secret
from domain.notifications.webhooks.sending import _test_event
from domain.orders.rules import PENDING
from domain.orders.states import TRANSITIONS
from domain.values import utcnow

OFFICIAL = Path(__file__).parents[1] / "data/asyncapi-3.0.0.json.gz"
KINDS = registry.names()


def resolved(reference: str) -> Any:
    """What a reference within the document leads to."""
    found: Any = document()
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(found: Any) -> list[str]:
    if isinstance(found, dict):
        own = [found["$ref"]] if isinstance(found.get("$ref"), str) else []
        return own + [each for value in found.values() for each in references(value)]
    return [each for value in found for each in references(value)] if isinstance(found, list) else []


def validator(name: str) -> Draft7Validator:
    """Of the payload of a message."""
    payload = document()["components"]["messages"][name]["payload"]
    return Draft7Validator({**payload, "components": document()["components"]})


def test_the_document_is_asyncapi():
    Draft7Validator(json.loads(gzip.decompress(OFFICIAL.read_bytes()))).validate(document())


def test_the_official_schema_would_find_a_mistake():
    wrong = document() | {"channels": {"account": {"adress": "x"}}}
    with pytest.raises(ValidationError):
        Draft7Validator(json.loads(gzip.decompress(OFFICIAL.read_bytes()))).validate(wrong)


def test_every_reference_leads_somewhere():
    found = references(document())
    assert len(found) > 100
    for reference in found:
        assert resolved(reference), reference


def test_every_state_that_an_order_comes_to_is_told():
    states = {each.target for each in TRANSITIONS} - {PENDING}
    assert {f"order.{state}" for state in states} <= set(KINDS)


def test_every_feature_that_has_events_declares_them():
    root = Path(__file__).parents[2] / "domain"
    declared = {module.__name__ for module in DECLARED}
    assert declared == {f"domain.{path.parent.name}.events" for path in root.glob("*/events.py")}
    assert set(document()["components"]["messages"]) == {*KINDS, "heartbeat"}


@pytest.mark.parametrize("name", KINDS)
def test_an_example_is_an_event_by_the_document_and_by_the_model(name: str):
    shown = resolved(f"#/components/messages/{name}")["examples"][0]["payload"]
    validator(name).validate(shown)
    whose = "shop" if shown["source"] == f"/accounts/{SHOP}" else "account"
    kind = registry.require(name, shown["data"], whose=whose)
    assert shown["dataschema"] == registry.dataschema(name, kind.version)


@pytest.mark.parametrize("name", KINDS)
def test_what_the_document_refuses_is_no_event(name: str):
    kind = next(each for each in registry.types() if each.name == name)
    good = example(kind)
    needed = next(iter(kind.model.model_json_schema().get("required", ())), None)
    wrong: list[dict[str, Any]] = [good | {"type": "other"}, good | {"seq": "1"}, good | {"data": []}]
    if needed:
        wrong.append(good | {"data": {key: good["data"][key] for key in good["data"] if key != needed}})
    for each in wrong:
        assert not validator(name).is_valid(each)
    # Who listens takes members that come later.
    assert validator(name).is_valid(good | {"data": good["data"] | {"later": 1}, "more": 1})


@pytest.mark.parametrize("name", KINDS)
def test_an_event_is_told_on_channels_of_the_document_that_carry_it(name: str):
    kind = next(each for each in registry.types() if each.name == name)
    channels = document()["channels"]
    for whose in kind.whose:
        account = SHOP if whose == "shop" else "ada"
        event = _document(NewEvent(account, name, "s", dict(kind.example)), seq=1, at=utcnow())
        (own, payload), (of_type, _) = messages(event)
        validator(name).validate(json.loads(payload))
        channel = channels["shop" if whose == "shop" else "account"]
        assert channel["address"].replace("{id}", account) == own
        assert name in channel["messages"]
        assert channels["type"]["address"].replace("{type}", name) == of_type
        assert name in channels["type"]["parameters"]["type"]["enum"]


def test_webhooks_are_signed_and_carry_every_event_and_the_one_that_tries_them():
    webhook = document()["channels"]["webhook"]
    assert set(webhook["messages"]) == {*KINDS, "webhook.test"}
    job = Claimed(
        id="1", kind="", owner="ada", attempt_id="", attempts=1, payload={}, subject=None, request_id=None,
        created_at=utcnow(), failing_since=None, pool="", version=1,
    )  # fmt: skip
    body = body_of(_test_event({"_id": "e", "account_id": "ada", "url": "u"}, job))
    headers = headers_of(body, event_id="1", secrets=[new_secret()], at=utcnow())
    for shown in webhook["messages"].values():
        assert shown["contentType"] == headers["Content-Type"]
        Draft7Validator(resolved(shown["headers"]["$ref"])).validate(headers)
        schema = {**shown["payload"], "components": document()["components"]}
        Draft7Validator(schema).validate(shown["examples"][0]["payload"])
    tried = {**webhook["messages"]["webhook.test"]["payload"], "components": document()["components"]}
    Draft7Validator(tried).validate(json.loads(body))
