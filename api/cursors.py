"""Where the next page begins: a small typed value that clients hand back as they got it."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import to_json

from api.errors import BadRequest

Value = TypeVar("Value")

#: The longest cursor that is looked at.
LONGEST = 1000
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

#: A key of at most 200 characters, such as a SKU; none of them a control character.
Key = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
#: An id that `new_id` made.
Uuid = Annotated[str, StringConstraints(pattern=_UUID)]

Asked = Annotated[str | None, Query(description="The `next_cursor` of the page before.")]


def encode(value: Any) -> str:
    """The cursor of a JSON value; `page` does it for every listing."""
    return urlsafe_b64encode(to_json(value)).rstrip(b"=").decode()


def invalid_cursor() -> BadRequest:
    """The cursor is none that this listing gave."""
    return BadRequest(422, "invalid_cursor", "The cursor is none that this listing gave: begin without one.")


class CursorOf(Generic[Value]):
    """A dependency: the query's `cursor` as the value that was encoded; None on the first page.

    `Annotated[tuple[int, str] | None, Depends(CursorOf(tuple[int, str]))]` is the cursor of a listing that
    is sorted by a number, then a key. Whatever is not of this type, strictly, is refused with 422
    `invalid_cursor`: a cursor is input like any other.
    """

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[Value] = TypeAdapter(kind)

    async def __call__(self, cursor: Asked = None) -> Value | None:
        """The value. Raises BadRequest."""
        return None if cursor is None else self.decode(cursor)

    def decode(self, cursor: str) -> Value:
        """The value that `encode` was given. Raises BadRequest."""
        if len(cursor) > LONGEST:
            raise invalid_cursor()
        try:
            text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            value = self._adapter.validate_json(text, strict=True)
        except (ValueError, ValidationError):
            raise invalid_cursor() from None
        if encode(value) != cursor:
            raise invalid_cursor()
        return value
