"""Jobs of notifications."""

from typing import Annotated

from pydantic import Field

from domain.jobs.commands import Command
from domain.values import Id


class SendMail(Command):
    """Write to the account of an event."""

    kind = "notifications.mail"
    pool = "notifications"
    event_id: Id


class FanOut(Command):
    """Find whom an event of the shop is for, and split them into parts."""

    kind = "notifications.fan_out"
    pool = "notifications"
    event_id: Id


class FanOutPart(Command):
    """Tell one part of them."""

    kind = "notifications.fan_out_part"
    pool = "notifications"
    event_id: Id
    part: Annotated[int, Field(ge=0)]
