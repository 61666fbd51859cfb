"""Events by type: each says what its `data` is. What is recorded is checked against it, and documented by it.

A feature declares its events beside itself, in its `events.py`:

    @event("parcel.lost", subject="parcel", whose=ACCOUNT, example={"parcel_id": ID, "carrier": "DHL"})
    class ParcelLost(EventData):
        \"\"\"The carrier has lost a parcel.\"\"\"

        parcel_id: str
        carrier: str | None = None

The class's docstring says when it happens. Members may be added, with a default; what would break a reader of
the type takes a new `version`. `domain/bootstrap/happenings.py` names the modules that are to be known.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: Whose events of a type are: an account's, the shop's, or either.
ACCOUNT, SHOPS, EITHER = ("account",), ("shop",), ("account", "shop")
#: What ids look like in examples.
ID = "019a9d2e-7c1a-7b60-9d51-3f0c5f6a2b11"

Amount = Annotated[int, Field(description="Minor units of `currency`.")]
Currency = Annotated[str, Field(description="ISO 4217.")]


class EventData(BaseModel):
    """Base of all: frozen, and strict about types and unknown members."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class WrongEvent(ValueError):
    """An event is not what its type says: a mistake in the code that records it."""


@dataclass(frozen=True, slots=True)
class EventType:
    """What is known of one type of events."""

    name: str
    model: type[EventData]
    #: What the event's `subject` is the id of.
    subject: str
    #: Whose: of ACCOUNT and SHOPS those that apply.
    whose: tuple[str, ...]
    example: Mapping[str, Any]
    version: int

    @property
    def when(self) -> str:
        """When it happens, as one line."""
        return " ".join((self.model.__doc__ or "").split())


Model = TypeVar("Model", bound=type[EventData])

_TYPES: dict[str, EventType] = {}


def event(
    name: str, *, subject: str, whose: tuple[str, ...], example: Mapping[str, Any], version: int = 1
) -> Callable[[Model], Model]:
    """Registers the model of a type's `data`. Raises ValueError for a known type or a wrong example."""

    def register(model: Model) -> Model:
        if name in _TYPES:
            raise ValueError(f"there are two types of events called {name}")
        model.model_validate(example)
        _TYPES[name] = EventType(name, model, subject, whose, example, version)
        return model

    return register


def names() -> list[str]:
    """Every type, sorted."""
    return sorted(_TYPES)


def types() -> Iterable[EventType]:
    """What is known of each, by name."""
    return [_TYPES[name] for name in names()]


def require(name: str, data: Mapping[str, Any], *, whose: str) -> EventType:
    """What is known of the type. Raises WrongEvent where it is unknown or the event is none of it."""
    known = _TYPES.get(name)
    if known is None:
        raise WrongEvent(f"no type of event is called {name}: declare it with @event")
    if whose not in known.whose:
        raise WrongEvent(f"{name} is never the {whose}'s")
    try:
        known.model.__pydantic_validator__.validate_python(data)
    except ValidationError as error:
        raise WrongEvent(f"{name}: {error}") from error
    return known


def dataschema(name: str, version: int = 1) -> str:
    """The URI of the form of `data`, as envelopes name it: another one only where a reader would break."""
    return f"urn:stockyard:event:{name}:{version}"
