"""What is left of an order: units to refund and to send, and what each of them is worth. Pure.

A line's units share what was paid for the line to the cent: after `n` of `q` units have been refunded,
`n / q` of its amount is paid back, rounded half-up. The refund that takes an order's last units takes all
that is left, shipping included.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import NothingLeft, TooManyUnits
from domain.orders.rules import due

Doc = dict[str, Any]

#: A refund that the provider did not make. Its units and money are there to be refunded again.
REFUSED = "refused"
STARTED, DONE = "started", "done"


def refunds_of(order: Mapping[str, Any]) -> list[Doc]:
    """The refunds that count: made, or under way."""
    return [each for each in order.get("refunds") or () if each["state"] != REFUSED]


def refunded(order: Mapping[str, Any], *, state: str | None = None) -> int:
    """Minor units that are paid back; of refunds in one state, or of all that count."""
    return sum(each["amount"] for each in refunds_of(order) if state in (None, each["state"]))


def units_by_line(entries: Sequence[Mapping[str, Any]]) -> Counter[int]:
    """Units by the line's place, over the lines of refunds or of fulfilments."""
    total: Counter[int] = Counter()
    for entry in entries:
        for line in entry["lines"]:
            total[line["line"]] += line["quantity"]
    return total


def to_refund(order: Mapping[str, Any]) -> list[int]:
    """By line, the units that nobody has refunded."""
    gone = units_by_line(refunds_of(order))
    return [line["quantity"] - gone[index] for index, line in enumerate(order["lines"])]


def to_send(order: Mapping[str, Any]) -> list[int]:
    """By line, the units that are neither refunded nor sent. A unit that was sent may be refunded, too."""
    return _unsent(order, refunds_of(order))


def _unsent(order: Mapping[str, Any], counted: Sequence[Mapping[str, Any]]) -> list[int]:
    refunds, sent = units_by_line(counted), units_by_line(order.get("fulfilments") or ())
    return [
        max(line["quantity"] - max(sent[index], 0) - refunds[index], 0)
        for index, line in enumerate(order["lines"])
    ]


def pick(order: Mapping[str, Any], left: Sequence[int], wanted: Mapping[str, int] | None) -> list[Doc]:
    """Units of the order's lines: those that are wanted by SKU, or all that are left.

    Two lines of one SKU are taken from in their order. Raises NothingLeft, and TooManyUnits with the lines.
    """
    if wanted is None:
        picked = [_part(order, index, units) for index, units in enumerate(left) if units]
    else:
        _require_units(order, left, wanted)
        picked = []
        missing = Counter(wanted)
        for index, line in enumerate(order["lines"]):
            units = min(left[index], missing[line["sku"]])
            missing[line["sku"]] -= units
            picked += [_part(order, index, units)] if units else []
    return picked


def _require_units(order: Mapping[str, Any], left: Sequence[int], wanted: Mapping[str, int]) -> None:
    there: Counter[str] = Counter()
    for line, units in zip(order["lines"], left, strict=True):
        there[line["sku"]] += units
    short = [
        {"sku": sku, "wanted": units, "left": there[sku]}
        for sku, units in sorted(wanted.items())
        if units > there[sku]
    ]
    if short:
        raise TooManyUnits(order=order["_id"], lines=short)


def _part(order: Mapping[str, Any], index: int, units: int) -> Doc:
    return {"line": index, "sku": order["lines"][index]["sku"], "quantity": units}


def paid_for(order: Mapping[str, Any], line: Mapping[str, Any]) -> int:
    """What the customer paid for a line: after discounts, with its tax."""
    tax = 0 if order.get("tax_included") else line.get("tax", 0)
    return int(line["net"] - line.get("discount", 0) + tax)


def share(amount: int, *, units: int, of: int) -> int:
    """`units / of` of the amount, rounded half-up."""
    return (2 * amount * units + of) // (2 * of)


def refund_of(order: Mapping[str, Any], wanted: Mapping[str, int] | None) -> Doc:
    """The lines of a refund with their amounts, its `amount`, and what of it is no line's, `other`.

    Raises NothingLeft and TooManyUnits.
    """
    before, left = units_by_line(refunds_of(order)), to_refund(order)
    rest = due(order) - refunded(order)
    picked = pick(order, left, wanted)
    if not picked and not rest:
        raise NothingLeft(order=order["_id"])
    lines, remaining = [], rest
    for part in picked:
        amount = min(_worth(order, part, before[part["line"]]), remaining)
        remaining -= amount
        lines.append(part | {"amount": amount})
    last = sum(part["quantity"] for part in picked) == sum(left)
    other = remaining if last else 0
    return {"lines": lines, "other": other, "amount": rest - remaining + other}


def _worth(order: Mapping[str, Any], part: Mapping[str, Any], before: int) -> int:
    line = order["lines"][part["line"]]
    amount, of = paid_for(order, line), line["quantity"]
    return share(amount, units=before + part["quantity"], of=of) - share(amount, units=before, of=of)


def fits(order: Mapping[str, Any], refund: Mapping[str, Any]) -> bool:
    """Whether the order has the units and the money of a refund that does not count yet."""
    left, units = to_refund(order), units_by_line([refund])
    enough = all(units[index] <= left[index] for index in units)
    return enough and bool(refund["amount"] <= due(order) - refunded(order))


def fulfilment_of(order: Mapping[str, Any], wanted: Mapping[str, int] | None) -> list[Doc]:
    """The lines of a fulfilment. Raises NothingLeft and TooManyUnits."""
    picked = pick(order, to_send(order), wanted)
    if not picked:
        raise NothingLeft(order=order["_id"])
    return picked


def is_sent(order: Mapping[str, Any], *, made: str | None = None) -> bool:
    """Whether something was sent and nothing is left to send.

    Of the refunds only those count whose money is back, and the one that is `made` now: the units of one
    that is refused are there to be sent.
    """
    back = [each for each in refunds_of(order) if each["state"] == DONE or each["id"] == made]
    return bool(order.get("fulfilments")) and not any(_unsent(order, back))
