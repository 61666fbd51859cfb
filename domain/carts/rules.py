"""What carts hold, and how that changes. Pure: each function answers the content that follows."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.errors import CartChanged, CartLimit, IdempotencyKeyReused, NotFound
from domain.values import Money, Value, new_id

#: Additions that a cart remembers, so that a repetition of one adds nothing.
REMEMBERED = 50

#: What can be wrong with a line. The first two keep it from being ordered.
NOT_FOR_SALE, PRICE_CHANGED = "not_for_sale", "price_changed"
#: Hints: others may be faster, or bring something back.
OUT_OF_STOCK, SHORT = "out_of_stock", "short"


class Limits(Value):
    """The most that one cart holds."""

    lines: int
    quantity: int
    codes: int


class Line(Value):
    """Units of one SKU. `seen` is the price that the customer knows of; `id` changes as units are ordered."""

    id: str
    sku: str
    quantity: int
    seen: Money


class Addition(Value):
    """What was added under an Idempotency-Key."""

    key: str
    sku: str
    quantity: int


class Content(Value):
    """What is in a cart. Each SKU has one line."""

    lines: tuple[Line, ...] = ()
    codes: tuple[str, ...] = ()
    added: tuple[Addition, ...] = ()

    def line(self, sku: str) -> Line | None:
        """The SKU's line."""
        return next((line for line in self.lines if line.sku == sku), None)

    def items(self) -> list[dict[str, Any]]:
        """SKU and quantity of each line, as orders have them."""
        return [{"sku": line.sku, "quantity": line.quantity} for line in self.lines]

    def with_line(self, line: Line) -> "Content":
        """The line in the place of that of its SKU, else at the end."""
        if self.line(line.sku) is None:
            return self.model_copy(update={"lines": (*self.lines, line)})
        lines = tuple(line if each.sku == line.sku else each for each in self.lines)
        return self.model_copy(update={"lines": lines})


class Ordered(Value):
    """Units of a line that an order takes."""

    id: str
    sku: str
    quantity: int


def added(content: Content, addition: Addition, *, price: Money, limits: Limits) -> Content:
    """More units of a SKU; once per key. A line that there is keeps the price that was seen first.

    Raises CartLimit, and IdempotencyKeyReused.
    """
    before = next((each for each in content.added if each.key == addition.key), None)
    if before is not None:
        if before != addition:
            raise IdempotencyKeyReused(key=addition.key)
        return content
    line = content.line(addition.sku)
    if line is None:
        grown = Line(id=new_id(), sku=addition.sku, quantity=addition.quantity, seen=price)
    else:
        grown = line.model_copy(update={"quantity": line.quantity + addition.quantity})
    remembered = (*content.added, addition)[-REMEMBERED:]
    return checked(content.with_line(grown), limits).model_copy(update={"added": remembered})


def with_quantity(
    content: Content, sku: str, quantity: int, *, seen: Money | None, price: Money, limits: Limits
) -> Content:
    """The line with so many units. `seen`, where it is told, has to be the price as it is now.

    Raises NotFound, CartLimit and CartChanged.
    """
    line = content.line(sku)
    if line is None:
        raise NotFound(sku=sku)
    if seen is not None and seen != price:
        raise CartChanged(lines=[price_change(line, price)])
    update = {"quantity": quantity, "seen": seen or line.seen}
    return checked(content.with_line(line.model_copy(update=update)), limits)


def without(content: Content, sku: str) -> Content:
    """Without the SKU's line, if there is one."""
    return content.model_copy(update={"lines": tuple(line for line in content.lines if line.sku != sku)})


def emptied(content: Content) -> Content:
    """Without lines and codes."""
    return content.model_copy(update={"lines": (), "codes": ()})


def with_codes(content: Content, codes: Sequence[str]) -> Content:
    """With these codes, each once, in the order in which they came."""
    return content.model_copy(update={"codes": tuple(dict.fromkeys(codes))})


def checked(content: Content, limits: Limits) -> Content:
    """The content itself. Raises CartLimit where it is too much."""
    if len(content.lines) > limits.lines:
        raise CartLimit(limit="lines", most=limits.lines)
    for line in content.lines:
        if line.quantity > limits.quantity:
            raise CartLimit(limit="quantity", most=limits.quantity, sku=line.sku)
    return content


def merged(own: Content, other: Content, limits: Limits) -> tuple[Content, list[dict[str, Any]]]:
    """Both together, within the limits, and what there was no room for, as `sku` and `quantity`.

    Quantities add up. Where two prices were seen of one SKU the lower one is kept: so that a change is told
    of, should the price be higher now.
    """
    content, left_out = own, []
    for line in other.lines:
        here = content.line(line.sku)
        if here is None and len(content.lines) >= limits.lines:
            left_out.append({"sku": line.sku, "quantity": line.quantity})
            continue
        wanted = line.quantity + (here.quantity if here else 0)
        if wanted > limits.quantity:
            left_out.append({"sku": line.sku, "quantity": wanted - limits.quantity})
        seen = _lower(here.seen, line.seen) if here else line.seen
        update = {"quantity": min(wanted, limits.quantity), "seen": seen}
        content = content.with_line((here or line).model_copy(update=update))
    codes = tuple(dict.fromkeys((*own.codes, *other.codes)))[: limits.codes]
    return content.model_copy(update={"codes": codes}), left_out


def _lower(one: Money, other: Money) -> Money:
    return other if one.currency == other.currency and other.amount < one.amount else one


def ordered(content: Content, taken: Sequence[Ordered], codes: Sequence[str]) -> Content:
    """What is left once these units were ordered with these codes. Raises CartChanged where any are missing.

    A line that keeps units gets another id: what was ordered of it cannot be ordered again.
    """
    left = {line.sku: line for line in content.lines}
    gone = [each for each in taken if not _has(left.get(each.sku), each)]
    if gone:
        raise CartChanged(lines=[{"sku": each.sku, "quantity": each.quantity} for each in gone])
    for each in taken:
        line = left.pop(each.sku)
        if line.quantity > each.quantity:
            update = {"id": new_id(), "quantity": line.quantity - each.quantity}
            left[each.sku] = line.model_copy(update=update)
    lines = tuple(left[line.sku] for line in content.lines if line.sku in left)
    kept = tuple(code for code in content.codes if code not in codes)
    return content.model_copy(update={"lines": lines, "codes": kept})


def _has(line: Line | None, wanted: Ordered) -> bool:
    return line is not None and line.id == wanted.id and line.quantity >= wanted.quantity


def problems(line: Line, fact: Mapping[str, Any] | None) -> list[str]:
    """What keeps the line from being ordered as it is."""
    if fact is None or not fact["sellable"]:
        return [NOT_FOR_SALE]
    return [] if Money.model_validate(fact["price"]) == line.seen else [PRICE_CHANGED]


def price_change(line: Line, price: Money) -> dict[str, Any]:
    """What a customer is told of a price that is not the one that was seen."""
    return {"sku": line.sku, "seen_price": line.seen.model_dump(), "price": price.model_dump()}


def stock_hint(available: int, quantity: int) -> list[str]:
    """Whether so many units could be had just now. Tells nobody how many there are."""
    if available >= quantity:
        return []
    return [OUT_OF_STOCK if available <= 0 else SHORT]
