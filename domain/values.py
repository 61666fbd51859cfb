"""Plain values: money, ids, durations, time. No I/O."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Self, TypeAlias

import uuid_utils
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

#: Gives the time. Handed to services, so that tests can move it.
Clock: TypeAlias = Callable[[], datetime]

_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def utcnow() -> datetime:
    """The time in UTC, cut to the millisecond that the store keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def new_id() -> str:
    """A UUIDv7 in its usual text form: later ids sort after earlier ones (RFC 9562)."""
    return str(uuid_utils.uuid7())


def id_floor(at: datetime) -> str:
    """The smallest UUIDv7 of the millisecond `at`: a bound for ranges over ids."""
    stamp = f"{int(at.timestamp() * 1000):012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"


def parse_duration(text: object) -> object:
    """Reads "250ms", "3s", "15m", "12h" or "30d"; hands anything but text on as it is.

    Raises ValueError where the text is not such a duration.
    """
    if not isinstance(text, str):
        return text
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        msg = f"{text!r} is not a duration such as 250ms, 3s, 15m, 12h or 30d"
        raise ValueError(msg)
    try:
        return int(match[1]) * _UNITS[match[2]]
    except OverflowError:
        msg = f"{text!r} is longer than any duration"
        raise ValueError(msg) from None


#: A timedelta that is written "15m" in settings.
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]

Sku = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
#: A location's code; no colon, which ids of stock are joined by.
LocationCode = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9][a-z0-9-]*$")]
#: An id that a client sends back: a UUID in its text form.
Id = Annotated[str, Field(min_length=36, max_length=36)]
#: One line that people write and read, such as a name: stripped, not blank, without control characters. Bound
#: it where it is used: `Annotated[Text, Field(max_length=200)]`.
Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    ),
]
#: The same over several lines, such as a description: tabs and line breaks may be in it.
Prose = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        pattern=(
            r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f]"
            r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
        ),
    ),
]
#: Units of one line: at least 1, at most a million.
Quantity = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
#: 0 to 100 with at most two decimals; a number on the wire.
Percent = Annotated[
    Decimal,
    Field(ge=0, le=100, decimal_places=2),
    PlainSerializer(float, return_type=float, when_used="json"),
]


class Value(BaseModel):
    """Base of values: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Money(Value):
    """An amount in minor units (cents) with its ISO 4217 currency.

    Rounding is half-up to the minor unit, once per order line, and nowhere else.
    """

    amount: Annotated[int, Field(strict=True, ge=0, le=10**12)]
    currency: Currency = "USD"

    def times(self, quantity: int) -> Self:
        """The amount for `quantity` units."""
        return self.model_copy(update={"amount": self.amount * quantity})

    def percent_off(self, percent: Decimal) -> Self:
        """What is left after `percent` (0 to 100) is taken off, rounded half-up."""
        left = Decimal(self.amount) * (100 - percent) / 100
        return self.model_copy(update={"amount": int(left.quantize(Decimal(1), ROUND_HALF_UP))})
