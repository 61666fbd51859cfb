"""What an order can become: the one table that the code goes by and that `docs/orders.md` draws. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.errors import InvalidTransition
from domain.orders.rules import (
    CANCELLED,
    COMPLETED,
    EXPIRED,
    FULFILLED,
    PAID,
    PENDING,
    REFUNDED,
    REJECTED,
    RESERVED,
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One way from a state to another, and what brings it about."""

    source: str
    target: str
    by: str


TRANSITIONS = (
    Transition(PENDING, RESERVED, "stock is held"),
    Transition(PENDING, REJECTED, "it cannot be had"),
    Transition(PENDING, CANCELLED, "the customer or staff cancel"),
    Transition(REJECTED, RESERVED, "ops replay its job"),
    Transition(RESERVED, PAID, "a payment succeeds"),
    Transition(RESERVED, EXPIRED, "the hold's time is over"),
    Transition(RESERVED, CANCELLED, "the customer or staff cancel"),
    Transition(CANCELLED, PENDING, "ops replay its job, if it was pending"),
    Transition(EXPIRED, RESERVED, "a late payment, if so set"),
    Transition(PAID, FULFILLED, "the last unit is sent"),
    Transition(PAID, REFUNDED, "all is paid back"),
    Transition(PAID, CANCELLED, "the customer or staff cancel, if its money did not come"),
    Transition(FULFILLED, COMPLETED, "staff, or time"),
    Transition(FULFILLED, REFUNDED, "all is paid back"),
    Transition(COMPLETED, REFUNDED, "all is paid back"),
)


def allowed(state: str) -> list[str]:
    """The states that can follow."""
    return [each.target for each in TRANSITIONS if each.source == state]


def refusal(order: Mapping[str, Any], wanted: str) -> dict[str, Any]:
    """What an error tells of an order that cannot become `wanted`, whatever the table says."""
    state = str(order["state"])
    # Nobody takes an order that was placed back to `pending`; and few orders that are paid have no money.
    barred = (wanted, PENDING, CANCELLED) if state == PAID else (wanted, PENDING)
    following = [each for each in allowed(state) if each not in barred]
    return {"order": order["_id"], "state": state, "wanted": wanted, "allowed": following}


def require(order_id: str, state: str, wanted: str) -> None:
    """Raises InvalidTransition, with those that are allowed, where `wanted` cannot follow on `state`."""
    if wanted not in allowed(state):
        raise InvalidTransition(**refusal({"_id": order_id, "state": state}, wanted))


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    ends = [state for state in dict.fromkeys(each.target for each in TRANSITIONS) if not allowed(state)]
    lines = ["stateDiagram-v2", f"    [*] --> {PENDING}"]
    lines += [f"    {each.source} --> {each.target}: {each.by}" for each in TRANSITIONS]
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in ends)])
