"""Product types by name: each says what its products' attributes are, how they are checked and how stored.

A new type is one class, and nothing else changes:

    @product_type("candle")
    class Candle(Attributes):
        \"\"\"Candles.\"\"\"

        burns_h: Annotated[int, Field(strict=True, ge=1, le=1000, json_schema_extra={"unit": "h"})]

It is then created, edited, shown, listed and sold as every other, and `/v1/product-types/candle` has its JSON
Schema. Classes that are to be known stand in `domain/products/types.py`, or in a module that it imports.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from domain.errors import InvalidAttributes, NotFound, UnknownProductType

#: The type of what has no attributes.
GENERAL = "general"
#: Bounds of what a refusal tells.
MOST_ERRORS, LONGEST_TEXT = 20, 200


class Attributes(BaseModel):
    """Base of all types: frozen, and strict about unknown attributes.

    Names end with their unit (`width_mm`), and the schema of a measure names it as `unit`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def stored(self) -> dict[str, Any]:
        """The form in the store, which is also the form on the wire: JSON, without what is not stated.

        Dates are texts that sort as their days do. A type may keep another form; it has to read it, too.
        """
        return self.model_dump(mode="json", exclude_none=True)


Type = TypeVar("Type", bound=type[Attributes])

_TYPES: dict[str, type[Attributes]] = {}


def product_type(name: str) -> Callable[[Type], Type]:
    """Registers a class of attributes under a name. Raises ValueError where another has it."""

    def register(cls: Type) -> Type:
        if name in _TYPES:
            raise ValueError(f"there are two product types called {name}")
        _TYPES[name] = cls
        return cls

    return register


def names() -> list[str]:
    """Every type's name, sorted."""
    return sorted(_TYPES)


def attribute_names() -> frozenset[str]:
    """Every attribute that a product of any type can have."""
    return frozenset(field for kind in _TYPES.values() for field in kind.model_fields)


def schema(name: str) -> dict[str, Any]:
    """The type's JSON Schema (draft 2020-12). Raises NotFound."""
    if name not in _TYPES:
        raise NotFound(product_type=name)
    return _TYPES[name].model_json_schema(mode="validation")


def attributes(name: str, given: Mapping[str, Any]) -> Attributes:
    """The attributes of a product of this type.

    Raises UnknownProductType, and InvalidAttributes with the `errors` of single attributes.
    """
    if name not in _TYPES:
        raise UnknownProductType(type=name[:LONGEST_TEXT], known=names())
    try:
        return _TYPES[name].model_validate(dict(given))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidAttributes(type=name, errors=[_refused(each) for each in found[:MOST_ERRORS]]) from None


def _refused(error: Any) -> dict[str, str]:
    """Where and what, never the input itself."""
    path = ".".join(str(part) for part in ("attributes", *error["loc"]))
    return {
        "field": path[:LONGEST_TEXT],
        "code": str(error["type"])[:LONGEST_TEXT],
        "message": str(error["msg"])[:LONGEST_TEXT],
    }
