"""What events there are, for machines."""

from fastapi import APIRouter, Response

from api.answers import json
from api.asyncapi import document
from api.deps import PUBLIC

routes = APIRouter(tags=["events"])


@routes.get(
    "/asyncapi.json",
    openapi_extra=PUBLIC,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
    summary="The events as AsyncAPI 3.0",
)
async def asyncapi() -> Response:
    """Every channel and every type of event. It is not there where `STOCKYARD_API_DOCS` is off."""
    return json(document())
