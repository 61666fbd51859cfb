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
                    "seq": 17,
                    "data": {"order_id": ID, "state": "reserved"},
                }
            ]
        }
    )


class EventPage(Shown):
    """Events after a `seq`, oldest first. There are more while `next_after` is less than `last_seq`."""

    events: list[EventView]
    last_seq: int
    next_after: int
