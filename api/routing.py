"""The routes' class: bodies are read as JSON by pydantic's parser, strictly and fast."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from api.errors import BadRequest, malformed_body


class JsonRequest(Request):
    """Knows JSON from what only looks like it: no NaN, no lone surrogates, nothing but UTF-8."""

    async def json(self) -> Any:
        """The parsed body. Raises `malformed_body`."""
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise malformed_body(str(error)[:200]) from error


class JsonRoute(APIRoute):
    """A route whose body, where it has one, is JSON and says so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI asks for it."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def read_json(request: Request) -> Response:
            if not request.headers.get("content-type", "").startswith("application/json"):
                message = "The body has to be JSON, with Content-Type: application/json."
                raise BadRequest(415, "unsupported_media_type", message)
            return await handle(JsonRequest(request.scope, request.receive))

        return read_json


def router(prefix: str = "", *, tag: str) -> APIRouter:
    """A feature's routes. They join the app's one flat table, see `api.app`."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=JsonRoute)
