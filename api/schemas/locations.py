"""Locations on the wire."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from api.schemas.common import Shown, Timestamp, Wire
from domain.inventory.locations import DEFAULT_PRIORITY
from domain.values import LocationCode, Text

Name = Annotated[Text, Field(max_length=100)]
Priority = Annotated[int, Field(strict=True, ge=0, le=1000, description="Taken from the lowest first.")]
Active = Annotated[bool, Field(strict=True, description="Whether orders are served from it.")]


class NewLocation(Wire):
    """A place for stock."""

    code: LocationCode
    name: Name
    priority: Priority = DEFAULT_PRIORITY
    active: Active = True

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "leith", "name": "Leith dock", "priority": 50}]}
    )


class LocationEdit(Wire):
    """What is to change; what is left out stays."""

    name: Name | None = None
    priority: Priority | None = None
    active: Active | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"priority": 10}], "minProperties": 1})

    @model_validator(mode="after")
    def _something(self) -> "LocationEdit":
        if not self.fields():
            raise ValueError("an edit changes something")
        return self

    def fields(self) -> dict[str, str | int | bool]:
        """What was sent."""
        return self.model_dump(exclude_none=True)


class LocationView(Shown):
    """A place for stock."""

    code: str = Field(validation_alias="_id")
    name: str
    priority: int
    active: bool
    created_at: Timestamp
    updated_at: Timestamp


class LocationList(Shown):
    """All of them, in the order of their priority: there are a hundred at most."""

    locations: list[LocationView]
