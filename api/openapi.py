"""The OpenAPI document: FastAPI's, with problems in place of its own error form."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.body import JsonBody
from api.deps import BEARER
from api.errors import PROBLEM_JSON
from api.schemas.common import Problem
from api.submission import Submits

_REF = "#/components/schemas/{model}"
#: FastAPI's own error form, which no answer of ours has.
_NOT_OURS = ("HTTPValidationError", "ValidationError")

TAGS = [
    {"name": "orders", "description": "Placed, paid and cancelled by jobs."},
    {"name": "reservations", "description": "Stock held before there is an order."},
    {"name": "carts", "description": "What somebody means to buy: an account, or whoever has the token."},
    {"name": "checkout", "description": "What it would cost: quotes, rates of shipping and tax."},
    {"name": "jobs", "description": "What was accepted, and what became of it."},
    {"name": "events", "description": "What happened: to replay, or to follow."},
    {"name": "notifications", "description": "What people are told: inbox, preferences, subscriptions."},
    {"name": "webhooks", "description": "Events sent to endpoints of yours, signed."},
    {"name": "products", "description": "The catalogue."},
    {"name": "media", "description": "Pictures: sent straight to the object store, rendered by jobs."},
    {"name": "discounts", "description": "Codes and automatic ones: what they take off, and who used them."},
    {"name": "inventory", "description": "Stock per SKU and location."},
    {"name": "accounts", "description": "Registration, tokens, sessions and API keys."},
    {"name": "ops", "description": "Operation: jobs, dead jobs, processes, queues, what ops did."},
    {"name": "health", "description": "Probes, metrics and keys."},
]

#: The other way to show an API key.
API_KEY = {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."}

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """Documents problems with these statuses. 401, 403, 422 and 503, and a wrong body, go without saying."""
    return {status: {"description": HTTPStatus(status).phrase} for status in statuses}


def document(app: FastAPI) -> dict[str, Any]:
    """What `/openapi.json` answers."""
    schema = FastAPI.openapi(app)
    models = schema["components"]["schemas"]
    for name in _NOT_OURS:
        models.pop(name, None)
    bodies = list(_bodies(app))
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Problem, "serialization")]
    wanted += [(body.model, "validation") for _, body in bodies]
    refs, defined = models_json_schema(wanted, ref_template=_REF)
    models |= defined["$defs"]
    for route, body in bodies:
        content: dict[str, Any] = {"schema": refs[body.model, "validation"]}
        if body.examples:
            content["examples"] = body.examples
        operation = schema["paths"][route.path_format][next(iter(route.methods or ())).lower()]
        operation["requestBody"] = {"required": body.required, "content": {"application/json": content}}
    schema["components"].setdefault("securitySchemes", {})["apiKey"] = API_KEY
    for path in schema["paths"].values():
        for operation in path.values():
            _problems(operation)
            if operation.get("security") == [{BEARER: []}]:
                operation["security"].append({"apiKey": []})
    return schema


def _bodies(app: FastAPI) -> Iterator[tuple[APIRoute, JsonBody[Any]]]:
    for route in app.routes:
        if isinstance(route, APIRoute):
            for each in route.dependant.dependencies:
                body = each.call.json_body if isinstance(each.call, Submits) else each.call
                if isinstance(body, JsonBody):
                    yield route, body


def _problems(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    implied = [*((401, 403, 429) if operation.get("security") else ())]
    implied += [400, 413, 415] if "requestBody" in operation else []
    responses |= {
        str(status): each for status, each in problems(*implied).items() if str(status) not in responses
    }
    responses |= {"422": {}, "503": responses.get("503", {})}
    for status, response in responses.items():
        own = "content" in response and "HTTPValidationError" not in str(response["content"])
        if status >= "400" and not own:
            response["description"] = HTTPStatus(int(status)).phrase
            response["content"] = {PROBLEM_JSON: {"schema": {"$ref": _REF.format(model="Problem")}}}
