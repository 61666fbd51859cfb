"""Letters: an event as mail, in text and in HTML, by the templates beside this module."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from domain.changes import Doc
from domain.notifications.money import shown
from domain.notifications.notices import KINDS, notice
from domain.values import Money

#: Types of events that there are letters for.
WRITTEN = frozenset(name for name, kind in KINDS.items() if kind.mail is not None)
#: Those that say which of an order's lines they are about.
WITH_LINES = frozenset(
    {"order.paid", "order.expired", "order.cancelled", "order.fulfilled", "order.refunded"}
)
#: The longest subject: mail programs show less.
LONGEST_SUBJECT = 150
_ADDRESS = ("name", "line1", "line2", "postal_code", "city", "region", "country")

_templates = Environment(
    loader=PackageLoader("domain.notifications", "templates"),
    autoescape=select_autoescape(enabled_extensions=("html",), default_for_string=True),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


@dataclass(frozen=True, slots=True)
class Letter:
    """What is written. `subject` is one line."""

    subject: str
    text: str
    html: str


def letter(event: Mapping[str, Any], order: Mapping[str, Any] | None, *, shop: str) -> Letter:
    """The letter about a stored event. `order` is the stored order that it is about, if it is about one."""
    told = notice(event)
    known: Doc = {
        "title": one_line(told.title),
        "text": one_line(told.text),
        "event": event,
        "at": event["time"].astimezone(UTC).strftime("%d %B %Y, %H:%M UTC"),
        "shop": shop,
        "order": _order(order) if order else None,
        "lines": _lines(event, order) if order and event["type"] in WITH_LINES else [],
        "address": _address(order) if order else [],
        "money": lambda amount: _money(amount, order),
    }
    names = [event["type"], *(["order"] if event["type"].startswith("order.") else []), "layout"]
    text, html = (
        _templates.select_template([f"{name}.{form}" for name in names]).render(known)
        for form in ("txt", "html")
    )
    return Letter(f"{known['title']}"[:LONGEST_SUBJECT], _tidy(text), html)


def one_line(text: str) -> str:
    """Without line breaks and other control characters, which names of before they were refused may have."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _order(order: Mapping[str, Any]) -> Doc:
    total = order.get("total")
    return {
        "discount": order.get("discount", 0),
        "shipping": order.get("shipping", 0),
        "tax": order.get("tax", 0),
        "tax_included": order.get("tax_included", False),
        "total": order["net"] if total is None else total,
    }


def _lines(event: Mapping[str, Any], order: Mapping[str, Any]) -> list[Doc]:
    """The lines that the event is about, else those of the order."""
    of_order: Sequence[Mapping[str, Any]] = order["lines"]
    told = event["data"].get("lines")
    if told is None:
        return [_line(line, line["quantity"], line["net"]) for line in of_order]
    return [_line(of_order[each["line"]], each["quantity"], each.get("amount")) for each in told]


def _line(line: Mapping[str, Any], quantity: int, amount: int | None) -> Doc:
    name, sku = one_line(line["name"]), one_line(line["sku"])
    return {"name": name, "sku": sku, "quantity": quantity, "amount": amount}


def _address(order: Mapping[str, Any]) -> list[str]:
    return [one_line(str(order["address"][name])) for name in _ADDRESS if order["address"].get(name)]


def _money(amount: int, order: Mapping[str, Any] | None) -> str:
    text = shown(Money(amount=abs(amount), currency=order["currency"] if order else "USD"))
    return f"-{text}" if amount < 0 else text


def _tidy(text: str) -> str:
    """At most one empty line after another."""
    found: list[str] = []
    for line in _stripped(text):
        if line or (found and found[-1]):
            found.append(line)
    return "\n".join(found).strip("\n") + "\n"


def _stripped(text: str) -> Iterable[str]:
    return (line if line == "-- " else line.rstrip() for line in text.splitlines())
