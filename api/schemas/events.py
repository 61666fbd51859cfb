"""Events on the wire: CloudEvents 1.0 envelopes."""

from typing import Any, Literal

from pydantic import ConfigDict

from api.schemas.common import ID, TIME, Shown


class EventView(Shown):
    """What happened. `seq` counts an account's events from 1, without gaps."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"]
    dataschema: str
    seq: int
    data: dict[str, Any]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "specversion": "1.0",
                    "id": ID,
                    "source": f"/accounts/{ID}",
                    "type": "order.reserved",
                    "subject": ID,
                    "time": TIME,
                    "datacontenttype": "application/json",
                    "dataschema": "urn:stockyard:event:order.reserved:1",
                    "seq": 17,
                    "data": {
                        "order_id": ID,
                        "state": "reserved",
                        "net": 3600,
                        "total": 3600,
                        "currency": "USD",
                    },
                }
            ]
        }
    )


class EventPage(Shown):
    """Events after a `seq`, oldest first. There are more while `next_after` is less than `last_seq`."""

    events: list[EventView]
    last_seq: int
    next_after: int


class TimedPage(Shown):
    """Events of all accounts in the order of their time. One of `next_cursor` and `next_since` is there."""

    events: list[EventView]
    next_cursor: str | None
    next_since: str | None
