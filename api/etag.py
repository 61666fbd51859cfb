"""Edits that know what they change: `ETag` of what is read, `If-Match` of what is written (RFC 9110, 13.1.1).

A thing's tag is its revision, which every write of it makes anew. Routes that edit take `IfMatch` and hand
it to the service as `expected`; the service raises StaleRevision where the stored revision is none of these.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request, Response

from api.answers import json
from api.errors import BadRequest

#: The revisions that a caller has seen; None where any will do (`If-Match: *`).
Expected: TypeAlias = frozenset[str] | None

#: One entity tag. Weak ones are read, and match nothing: an edit asks for the very bytes.
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]{0,200})"')
#: Tags as one request names them: 20 at most.
_LIST = re.compile(rf"\s*{_TAG.pattern}\s*(,\s*{_TAG.pattern}\s*){{0,19}}")

#: Documents the header that `IfMatch` reads.
CONDITIONAL: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "required": True,
            "description": "The `ETag` of what is edited, as it was last read; `*` for whatever is there.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 4000},
            "example": '"019a9d2e-7c1a-7b60-9d51-3f0c5f6a2b11"',
        }
    ]
}


def etag(revision: str) -> str:
    """The tag of a revision, as it stands in the header."""
    return f'"{revision}"'


def tagged(body: Any, revision: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The answer with its `ETag`."""
    return json(body, status, {**(headers or {}), "ETag": etag(revision)})


def if_match(request: Request) -> Expected:
    """What the caller has seen.

    Raises BadRequest: 428 without the header, as an edit that does not know what it changes may undo another;
    400 where it cannot be read.
    """
    lines = request.headers.getlist("if-match")
    if not lines:
        message = "This request needs an If-Match header with the ETag of what it edits."
        raise BadRequest(428, "if_match_missing", message)
    value = ",".join(lines)
    if value.strip() == "*":
        return None
    if not _LIST.fullmatch(value):
        message = 'If-Match is * or a list of entity tags such as "019a9d2e".'
        raise BadRequest(400, "if_match_invalid", message)
    return frozenset(tag for weak, tag in _TAG.findall(value) if not weak)


async def _if_match(request: Request) -> Expected:
    return if_match(request)


IfMatch = Annotated[Expected, Depends(_if_match)]
