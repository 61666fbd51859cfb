"""Validators of a listing's query parameters, built fluently and checked when they are built.

    State = Annotated[str | None, Depends(Filter("state").one_of("queued", "dead").build())]
    Age = Annotated[timedelta | None, Depends(Filter("older_than").duration(at_most=DAY).build())]

A built filter is a dependency: it reads its parameter, refuses with 422 `validation_error` what does not fit,
and documents itself in OpenAPI. A parameter that is not there is None.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from inspect import Parameter, Signature
from typing import Annotated, Any, Literal, Self

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError

from api.deps import Plain
from domain.values import Text, parse_duration

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DURATION = r"^[0-9]{1,9}(ms|s|m|h|d)$"
#: The longest text that a filter takes.
LONGEST = 200
#: The most values that a filter takes at once.
MOST = 50


class FilterError(ValueError):
    """The filter makes no sense; the message names the rule that it breaks."""


class QueryFilter:
    """A dependency that reads one query parameter. `Filter.build` makes it."""

    def __init__(self, name: str, kind: Any, description: str | None, example: str | int | None) -> None:
        self.name = name
        examples = None if example is None else [example]
        declared = Annotated[kind | None, Query(description=description, examples=examples)]
        # FastAPI reads it as it would a function's parameters.
        self.__signature__ = Signature(
            [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=declared)]
        )

    async def __call__(self, **asked: Any) -> Any:
        """The value; None where the parameter is not there."""
        return asked[self.name]


class Filter:
    """What a query parameter may be. `build` checks that it makes sense."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._kinds: list[Any] = []
        self._broken: list[str] = []
        self._description: str | None = None
        self._example: str | int | None = None
        self._many = False

    def one_of(self, *values: str) -> Self:
        """One of these words."""
        self._rule(bool(values), "one_of needs values")
        self._rule(len(set(values)) == len(values), "one_of has a value twice")
        return self._kind(Literal[values] if values else str)

    def text(self, *, longest: int = LONGEST) -> Self:
        """Stripped text without control characters, not blank."""
        self._rule(1 <= longest <= LONGEST, f"text has at most {LONGEST} characters")
        return self._kind(Annotated[Text, Field(max_length=longest)])

    def matching(self, kind: Any) -> Self:
        """Text of a type that the domain has, such as `Sku`."""
        return self._kind(kind)

    def number(self, *, at_least: int, at_most: int) -> Self:
        """A whole number within bounds."""
        self._rule(at_least <= at_most, "at_least is not above at_most")
        return self._kind(Annotated[int, Field(ge=at_least, le=at_most), Plain])

    def flag(self) -> Self:
        """`true` or `false`."""
        return self._kind(Annotated[Literal["true", "false"], AfterValidator("true".__eq__)])

    def duration(self, *, at_most: timedelta) -> Self:
        """Such as 30s, 15m, 12h or 7d."""
        self._rule(at_most > timedelta(), "a duration's at_most is above zero")
        return self._kind(
            Annotated[str, Field(pattern=_DURATION), AfterValidator(_within(at_most))],
        )

    def moment(self) -> Self:
        """A time with its zone, as RFC 3339 writes it."""
        return self._kind(AwareDatetime)

    def many(self) -> Self:
        """The parameter may be repeated; the value is a list."""
        self._many = True
        return self

    def described(self, description: str) -> Self:
        """What OpenAPI says of it."""
        self._description = description
        return self

    def example(self, example: str) -> Self:
        """One value that the filter takes, for OpenAPI."""
        self._example = example
        return self

    def build(self) -> QueryFilter:
        """The dependency. Raises FilterError, which names every rule that is broken."""
        self._rule(bool(_NAME.fullmatch(self._name)), "a name is lower-case letters, digits and underscores")
        self._rule(len(self._kinds) == 1, f"a filter is of one kind, this of {len(self._kinds)}")
        if not self._broken:
            self._rule(self._takes_its_example(), "the example does not pass the filter itself")
        if self._broken:
            raise FilterError(f"filter {self._name!r}: {'; '.join(self._broken)}")
        (kind,) = self._kinds
        if self._many:
            kind = Annotated[list[kind], Field(min_length=1, max_length=MOST)]  # type: ignore[valid-type]
        return QueryFilter(self._name, kind, self._description, self._example)

    def _kind(self, kind: Any) -> Self:
        self._kinds.append(kind)
        return self

    def _rule(self, holds: bool, rule: str) -> None:  # noqa: FBT001 - a condition, not an option
        if not holds:
            self._broken.append(rule)

    def _takes_its_example(self) -> bool:
        if self._example is None:
            return True
        adapter: TypeAdapter[Any] = TypeAdapter(self._kinds[0])
        try:
            value = adapter.validate_strings(self._example)
        except ValidationError:
            return False
        # As JSON has it: what is documented is the value, not how it is written in a query.
        self._example = value if isinstance(value, int) else self._example
        return True


def _within(at_most: timedelta) -> Callable[[str], timedelta]:
    def check(text: str) -> timedelta:
        age = parse_duration(text)
        if not isinstance(age, timedelta) or age > at_most:
            msg = f"at most {at_most.days}d" if at_most.days else f"at most {at_most.total_seconds():g}s"
            raise ValueError(msg)
        return age

    return check
