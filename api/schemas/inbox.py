"""Inboxes and preferences on the wire."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StrictBool, StrictInt, StringConstraints, model_validator
from pydantic.config import JsonDict

from api.schemas.common import ID, TIME, NextCursor, Shown, Wire

#: The greatest `seq` that JSON keeps exact.
_LAST = 2**53 - 1
Seq = Annotated[StrictInt, Field(ge=1, le=_LAST)]
#: A type of events, a family such as `order.*`, or `*`.
Pattern = Annotated[str, StringConstraints(max_length=100, pattern=r"^(\*|[a-z][a-z_]*\.(\*|[a-z][a-z_]*))$")]

_CHOICES: JsonDict = {"order.*": {"mail": False}, "order.paid": {"mail": True}}
_DATA: JsonDict = {"order_id": ID, "state": "paid"}
_ENTRY: JsonDict = {
    "seq": 17,
    "id": ID,
    "type": "order.paid",
    "subject": ID,
    "time": TIME,
    "title": "Order confirmed",
    "text": f"Thank you. Your order {ID} is paid and will be sent.",
    "read": False,
    "data": _DATA,
}


class EntryView(Shown):
    """One event in an inbox, in words. `data` is the event's."""

    seq: int
    id: str
    type: str
    subject: str
    time: str
    title: str
    text: str
    read: bool
    data: dict[str, Any]

    model_config = ConfigDict(json_schema_extra={"examples": [_ENTRY]})


class InboxPage(Shown):
    """Entries, newest first. A page may have fewer than were asked for, and yet a next one."""

    entries: list[EntryView]
    next_cursor: NextCursor


class UnreadView(Shown):
    """How many entries are unread, 999 at most; `more` where there may be more than `unread`."""

    unread: int
    more: bool

    model_config = ConfigDict(json_schema_extra={"examples": [{"unread": 3, "more": False}]})


class ReadMark(Wire):
    """What is read: entries by their `seqs`, or all up to a seq, or both."""

    seqs: Annotated[list[Seq], Field(min_length=1, max_length=500)] | None = None
    upto: Seq | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"upto": 17}]})

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.seqs is None and self.upto is None:
            msg = "name seqs, or upto"
            raise ValueError(msg)
        return self


class Channels(Wire):
    """Whether it comes by a channel. What is left out is left to the family, then to the default."""

    inbox: StrictBool | None = None
    mail: StrictBool | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.inbox is None and self.mail is None:
            msg = "say inbox, or mail"
            raise ValueError(msg)
        return self


class PreferencesEdit(Wire):
    """What the account chooses, instead of what it has chosen; `{}` for the defaults."""

    preferences: Annotated[dict[Pattern, Channels], Field(max_length=100)]

    model_config = ConfigDict(json_schema_extra={"examples": [{"preferences": _CHOICES}]})


class TypeView(Shown):
    """How one type of events reaches the account now. Null `mail`: there is no letter about it.

    `always` is mail that cannot be switched off.
    """

    type: str
    inbox: bool
    mail: bool | None = None
    always: bool

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "order.paid", "inbox": True, "mail": True, "always": False}]}
    )


class PreferencesView(Shown):
    """What was chosen, and what comes of it for each type."""

    preferences: dict[str, dict[str, bool]]
    types: list[TypeView]
