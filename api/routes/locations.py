"""Locations: where stock is."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.body import JsonBody
from api.deps import Caller, Requires
from api.etag import CONDITIONAL, IfMatch, tagged
from api.openapi import problems
from api.schemas.locations import LocationEdit, LocationList, LocationView, NewLocation
from domain.changes import Doc

routes = APIRouter(prefix="/v1/locations", tags=["inventory"])

Reader = Annotated[Caller, Depends(Requires("inventory:read"))]
Writer = Annotated[Caller, Depends(Requires("inventory:write"))]


@routes.get("", summary="List locations")
async def list_locations(caller: Reader) -> LocationList:
    """All of them, in the order in which stock is taken from them."""
    rows = await caller.services.locations.all()
    return LocationList(locations=[LocationView.model_validate(row) for row in rows])


@routes.post(
    "",
    status_code=201,
    response_model=LocationView,
    responses={200: {"model": LocationView, "description": "It is there already."}, **problems(409)},
    summary="Create a location",
)
async def create_location(
    caller: Writer, form: Annotated[NewLocation, Depends(JsonBody(NewLocation))]
) -> Response:
    """Sent twice, the second answers 200 with the same location. A deleted one's code is not given again."""
    location, created = await caller.services.locations.create(**form.model_dump())
    where = {"Location": f"/v1/locations/{location['_id']}"}
    return _answer(location, 201 if created else 200, where)


@routes.get("/{code}", response_model=LocationView, responses=problems(404), summary="One location")
async def get_location(code: str, caller: Reader) -> Response:
    """The location, with the `ETag` that an edit needs."""
    return _answer(await caller.services.locations.get(code))


@routes.patch(
    "/{code}",
    response_model=LocationView,
    openapi_extra=CONDITIONAL,
    responses=problems(400, 404, 412, 428),
    summary="Edit a location",
)
async def edit_location(
    code: str,
    caller: Writer,
    expected: IfMatch,
    form: Annotated[LocationEdit, Depends(JsonBody(LocationEdit))],
) -> Response:
    """Its name, its priority, and whether orders are served from it."""
    return _answer(await caller.services.locations.change(code, form.fields(), expected=expected))


@routes.delete(
    "/{code}",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409),
    summary="Delete a location",
)
async def delete_location(code: str, caller: Writer) -> Response:
    """Only one without units, and never the default one. A second time it is not found."""
    await caller.services.locations.delete(code)
    return Response(status_code=204)


def _answer(location: Doc, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return tagged(LocationView.model_validate(location), location["revision"], status, headers)
