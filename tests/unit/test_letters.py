"""Letters: what they say, and that nothing in an order or a name can make them say something else."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from domain.events import registry
from domain.notifications.letters import WRITTEN, Letter, letter

NOW = datetime(2026, 11, 22, 10, 45, tzinfo=UTC)
ORDER = {
    "_id": "o-1",
    "currency": "USD",
    "lines": [
        {"sku": "CHAI-1", "name": "Chai", "quantity": 2, "net": 3600},
        {"sku": "TOFU-1", "name": "Tofu", "quantity": 1, "net": 2325},
    ],
    "net": 5925,
    "discount": 500,
    "shipping": 490,
    "tax": 0,
    "total": 5915,
    "address": {"name": "Ada", "line1": "1 Dock Road", "city": "Leith", "country": "GB"},
}
HOSTILE = "<script>alert(1)</script>\r\nBcc: eve@example.com\r\n\r\n{{ 7 * 7 }}{% raw %}"


def written(name: str, data: dict[str, Any] | None = None, order: dict[str, Any] | None = ORDER) -> Letter:
    known = registry._TYPES[name]
    told = dict(known.example) | (data or {})
    event = {"_id": "e-1", "type": name, "subject": "o-1", "time": NOW, "data": told}
    return letter(event, order if "order_id" in told else None, shop="Tea & Co")


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.names.add(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_confirmation_has_lines_totals_and_where_it_goes():
    found = written("order.paid", {"order_id": "o-1"})
    assert found.subject == "Order confirmed"
    assert found.text == (
        "Order confirmed\n\n"
        "Thank you. Your order o-1 is paid and will be sent.\n\n"
        "2 x Chai (CHAI-1): 36.00 USD\n"
        "1 x Tofu (TOFU-1): 23.25 USD\n\n"
        "Discounts: -5.00 USD\n"
        "Shipping: 4.90 USD\n"
        "Total: 59.15 USD\n\n"
        "It goes to:\n\n"
        "Ada\n1 Dock Road\nLeith\nGB\n\n"
        "-- \nTea & Co\n"
    )
    told = Tags(found.html).text
    for line in ("2 \u00d7 Chai CHAI-1", "59.15 USD", "-5.00 USD", "1 Dock Road", "Tea & Co"):
        assert line in told


def test_amounts_are_those_of_the_orders_currency():
    yen = ORDER | {"currency": "JPY", "discount": 0}
    assert "Total: 5,915 JPY" in written("order.paid", order=yen).text
    dinar = ORDER | {"currency": "KWD", "tax": 1250, "tax_included": True}
    assert "Tax (included): 1.250 KWD" in written("order.paid", order=dinar).text


def test_a_refund_says_what_goes_back():
    lines = [{"line": 1, "sku": "TOFU-1", "quantity": 1, "amount": 2325}]
    told = {"order_id": "o-1", "amount": 2325, "lines": lines, "whole": False}
    found = written("order.refunded", told)
    assert "23.25 USD of your order o-1" in found.text
    assert "1 x Tofu (TOFU-1): 23.25 USD" in found.text
    assert "Chai" not in found.text
    assert "The rest of the order stays as it is." in Tags(found.html).text


def test_what_was_sent_has_no_prices():
    lines = [{"line": 0, "sku": "CHAI-1", "quantity": 1}]
    text = written("order.fulfilled", {"order_id": "o-1", "lines": lines}).text
    assert "1 x Chai (CHAI-1)\n" in text
    assert "Tracking number by DHL: JD014600003." in text


def test_a_changed_password_says_when_and_from_where():
    text = written("account.password_changed").text
    assert "from the address 203.0.113.7" in text
    assert "22 November 2026, 10:45 UTC" in text
    assert "from the address" not in written("account.password_changed", {"address": None}).text


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_every_letter_is_whole_in_both_forms(name: str):
    found = written(name)
    for part in (found.subject, found.text):
        assert "{" not in part
        assert "None" not in part
    assert found.subject in found.text
    page = Tags(found.html)
    assert page.open == []
    assert found.subject in page.text
    assert "script" not in page.names


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_letter_about_an_order_that_is_not_stored_has_none_of_it(name: str):
    assert "CHAI" not in written(name, order=None).text or name == "product.back"


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_nothing_that_people_write_can_change_a_letter(name: str):
    lines = [{"sku": HOSTILE, "name": HOSTILE, "quantity": 1, "net": 100}]
    order = ORDER | {"lines": lines, "address": dict.fromkeys(("name", "line1", "city", "country"), HOSTILE)}
    data: dict[str, Any] = {
        each: HOSTILE for each, value in registry._TYPES[name].example.items() if isinstance(value, str)
    }
    data |= {"currency": "USD"} if "currency" in data else {}
    data |= (
        {"lines": [{"line": 0, "sku": HOSTILE, "quantity": 1}]}
        if "lines" in registry._TYPES[name].example
        else {}
    )
    found = written(name, data, order)
    assert found.subject.isprintable()
    assert "\r" not in found.text
    assert not any(line.startswith("Bcc:") for line in found.text.splitlines())
    assert "49" not in found.text
    page = Tags(found.html)
    assert "script" not in page.names
    assert page.names <= {"html", "head", "meta", "title", "body", "div", "h1", "p", "br", "span", "strong",
                          "table", "tr", "td"}  # fmt: skip


def test_templates_are_part_of_the_package_and_all_are_used():
    folder = Path(letter.__code__.co_filename).parent / "templates"
    shared = {"layout", "lines", "totals", "order"}
    for form in (".txt", ".html"):
        names = {path.name.removesuffix(form) for path in folder.glob(f"*{form}")}
        assert names - shared <= WRITTEN
        assert shared <= names
