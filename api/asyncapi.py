"""The AsyncAPI 3.0 document: every channel by which events are told, and every type of event."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.schemas.events import EventView
from domain.events import registry
from domain.events.registry import ID, SHOPS, EventType
from domain.events.rules import SHOP, account_channel, envelope, type_channel
from domain.notifications.events import TESTED
from domain.notifications.webhooks.rules import CONTENT_TYPE

_SCHEMA = "#/components/schemas/{model}"
_TIME = datetime(2026, 11, 22, 10, 45, 28, 123_000, tzinfo=UTC)

_DESCRIPTION = (
    "What happens in the shop, as CloudEvents 1.0. Every event is stored in the transaction that made it"
    " true, then told at least once. Listeners skip by `id` what they have handled, see a gap by `seq`, and"
    " replay what they missed by `GET /v1/events?after=`. Members may be added to `data` at any time: ignore"
    " what is not known. What would break a reader takes another `dataschema`."
)
_HEARTBEAT = {
    "name": "heartbeat",
    "title": "heartbeat",
    "summary": "Nothing has happened for a while; the stream is alive.",
    "contentType": "application/json",
    "payload": {
        "type": "object",
        "required": ["last_seq"],
        "properties": {"last_seq": {"type": "integer", "description": "The last `seq` there is."}},
    },
    "examples": [{"name": "heartbeat", "payload": {"last_seq": 17}}],
}
#: Headers of webhooks, and what their schema is called.
_HEADERS = "WebhookHeaders"
_SIGNED = {
    "type": "object",
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "webhook-id": {"type": "string", "description": "The event's `id`."},
        "webhook-timestamp": {"type": "string", "description": "Seconds since 1970 of this attempt."},
        "webhook-signature": {
            "type": "string",
            "description": "As the Standard Webhooks specification has it.",
        },
    },
}


@cache
def document() -> dict[str, Any]:
    """What `/asyncapi.json` answers. Nobody changes it."""
    kinds = list(registry.types())
    channels = _channels(kinds)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Stockyard",
            "version": version("stockyard"),
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": channels,
        "operations": {name: _operation(name, channel) for name, channel in channels.items()},
        "components": {
            "schemas": _schemas((*kinds, TESTED)) | {_HEADERS: _SIGNED},
            "messages": {each.name: _message(each) for each in kinds} | {"heartbeat": _HEARTBEAT},
        },
    }


def example(kind: EventType) -> dict[str, Any]:
    """An event of the type, as it is told."""
    account = SHOP if kind.whose == SHOPS else ID
    data = dict(kind.example)
    stored = {"_id": ID, "account_id": account, "seq": 17, "type": kind.name, "subject": _subject(kind)}
    return envelope(stored | {"version": kind.version, "time": _TIME, "data": data})


def _subject(kind: EventType) -> str:
    return str(kind.example.get("sku", ID))


def _servers() -> dict[str, Any]:
    return {
        "redis": {
            "host": "{host}",
            "protocol": "redis",
            "description": "Pub/sub. It forgets, and has no accounts: for the shop's own network.",
            "variables": {"host": {"default": "localhost:6379"}},
        },
        "api": {
            "host": "{host}",
            "protocol": "https",
            "description": "The HTTP API.",
            "variables": {"host": {"default": "localhost:8000"}},
        },
        "receiver": {
            "host": "{host}",
            "protocol": "https",
            "description": "Whoever has registered a webhook.",
            "variables": {"host": {"default": "shop.example"}},
        },
    }


def _channels(kinds: Iterable[EventType]) -> dict[str, Any]:
    kinds = list(kinds)
    names = [each.name for each in kinds]
    of_accounts = [each.name for each in kinds if each.whose != SHOPS]
    of_shop = [each.name for each in kinds if SHOP in each.whose]
    return {
        "account": {
            "address": account_channel("{id}"),
            "title": "One account's events",
            "parameters": {"id": {"description": "The account's id."}},
            **_carries("redis", of_accounts),
        },
        "shop": {
            "address": account_channel(SHOP),
            "title": "The shop's own events",
            **_carries("redis", of_shop),
        },
        "type": {
            "address": type_channel("{type}"),
            "title": "Events of one type, of all accounts",
            "parameters": {"type": {"description": "The type.", "enum": names}},
            **_carries("redis", names),
        },
        "stream": {
            "address": "/v1/stream",
            "title": "Server-sent events of one account or the shop, without gaps",
            "description": "`id` is the `seq`, `event` the type, `data` the envelope.",
            **_carries("api", [*names, "heartbeat"]),
        },
        "webhook": {
            "address": None,
            "title": "POSTs to the endpoints that an account, or the shop, has registered",
            "servers": [{"$ref": "#/servers/receiver"}],
            "messages": {each.name: _signed(each) for each in (*kinds, TESTED)},
        },
    }


def _signed(kind: EventType) -> dict[str, Any]:
    """The message as a webhook."""
    headers = {"$ref": _SCHEMA.format(model=_HEADERS)}
    return {**_message(kind), "contentType": CONTENT_TYPE, "headers": headers}


def _carries(server: str, names: Iterable[str]) -> dict[str, Any]:
    return {
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def _operation(name: str, channel: Mapping[str, Any]) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/{name}/messages/{message}"} for message in channel["messages"]]
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "title": channel["title"],
        "messages": messages,
    }


def _message(kind: EventType) -> dict[str, Any]:
    narrowed = {
        "type": {"const": kind.name},
        "dataschema": {"const": registry.dataschema(kind.name, kind.version)},
        "data": {"$ref": _SCHEMA.format(model=kind.model.__name__)},
    }
    whose = " or ".join("the shop's" if each == SHOP else "an account's" for each in kind.whose)
    return {
        "name": kind.name,
        "title": kind.name,
        "summary": kind.when,
        "description": f"`subject` is the {kind.subject}. It is {whose}.",
        "contentType": "application/json",
        "payload": {
            "allOf": [
                {"$ref": _SCHEMA.format(model=EventView.__name__)},
                {"type": "object", "properties": narrowed},
            ]
        },
        "examples": [{"name": kind.name, "payload": example(kind)}],
    }


def _schemas(kinds: Iterable[EventType]) -> dict[str, Any]:
    models: list[type[BaseModel]] = [EventView, *(each.model for each in kinds)]
    _, found = models_json_schema([(model, "serialization") for model in models], ref_template=_SCHEMA)
    defined: dict[str, Any] = found["$defs"]
    for schema in defined.values():
        # The code is strict about what it tells; who listens has to take members that come later.
        schema.pop("additionalProperties", None)
    return defined
