"""What ops do, as entries of the audit log."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from api.deps import Caller
from api.schemas.common import Wire
from domain.audit_log.models import Actor, Entry
from domain.values import Text

#: Why something is done: one line.
Why = Annotated[Text, Field(max_length=500)]


class Reasoned(Wire):
    """The body of an act of ops: why. Without a body there is no reason."""

    reason: Why | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "ticket 4711"}]})


def actor_of(caller: Caller) -> Actor:
    """Who acts, for the audit log."""
    who = caller.principal
    via = f"key:{who.key_id}" if who.key_id else f"session:{who.session_id}"
    return Actor(who.account_id, via, caller.request_id)


def entry_of(
    caller: Caller,
    action: str,
    thing: str,
    thing_id: str,
    *,
    reason: str | None = None,
    before: dict[str, Any] | None = None,
) -> Entry:
    """An entry of the audit log for what the caller is about to do, see `AuditLog.acting`."""
    return Entry(actor_of(caller), action, thing, thing_id, reason=reason, before=before)
