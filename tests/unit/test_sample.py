"""The Northwind data, and the list of settings that is kept by hand."""

import re
from decimal import Decimal
from pathlib import Path

from domain.orders.commands import PlaceOrder
from domain.settings import Settings
from ops.demo.__main__ import plans
from ops.environment import settings_of, variables
from ops.sample.northwind import Line, Northwind, gross, net

ROOT = Path(__file__).parents[2]
DATA = Northwind()


def test_northwind_is_whole():
    assert len(DATA.products) == 77
    assert len({product.category for product in DATA.products}) == 8
    assert len(DATA.orders) == 830
    assert sum(len(order.lines) for order in DATA.orders) == 2155
    assert sum(product.stock for product in DATA.products) == 3119
    assert sum(line.quantity for order in DATA.orders for line in order.lines) == 51_317


def test_northwind_totals_are_those_of_its_readme():
    assert gross(DATA.orders) == 135_445_859
    assert net(DATA.orders) == 126_579_329


def test_658_lines_were_agreed_at_other_prices_than_the_catalogues():
    prices = {product.sku: product.price for product in DATA.products}
    lines = [line for order in DATA.orders for line in order.lines]
    assert sum(line.unit_price != prices[line.sku] for line in lines) == 658


def test_a_line_rounds_half_up_to_the_cent():
    assert Line(sku="a", quantity=1, unit_price=110, percent_off=Decimal(5)).net == 105  # 104.5
    assert Line(sku="a", quantity=1, unit_price=103, percent_off=Decimal("2.5")).net == 100  # 100.425


def test_every_order_is_one_that_the_platform_takes():
    for order in DATA.orders:
        command = PlaceOrder.model_validate_json(PlaceOrder.model_validate(order.as_body()).model_dump_json())
        assert [item.percent_off for item in command.items] == [line.percent_off for line in order.lines]


def test_addresses_keep_the_commas_that_the_file_does_not_quote():
    order = next(order for order in DATA.orders if order.number == "10250")
    assert order.address == {
        "name": "Hanari Carnes",
        "line1": "Rua do Paço, 67",
        "city": "Rio de Janeiro",
        "region": "RJ",
        "postal_code": "05454-876",
        "country": "Brazil",
    }
    assert all(5 <= len(order.address) <= 6 for order in DATA.orders)


def test_a_place_without_a_region_has_none():
    assert "region" not in DATA.orders[0].address


def test_the_first_pass_has_stock_for_all_and_the_second_what_the_data_say():
    enough, recorded = plans(DATA.orders, DATA.products)
    asked = {product.sku: 0 for product in DATA.products}
    for order in DATA.orders:
        for line in order.lines:
            asked[line.sku] += line.quantity
    assert all(enough.stock[sku] >= units for sku, units in asked.items())
    assert sum(recorded.stock.values()) == 3119
    assert recorded.orders == enough.orders == list(DATA.orders)


def test_the_env_example_lists_every_setting_once_with_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    listed = re.findall(r"^(STOCKYARD_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(name for name, _ in listed) == sorted(variables())
    assert settings_of(dict(listed)).model_dump() == Settings().model_dump()


def test_every_setting_of_the_env_example_is_explained():
    blocks = (ROOT / ".env.example").read_text().split("\n# -- ")[1:]
    assert all(block.split(" --")[0] for block in blocks)
    assert len(blocks) == len(Settings.model_fields)


def test_settings_of_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("STOCKYARD_API_PORT", "8123")
    monkeypatch.delenv("STOCKYARD_ORDERS_HOLD_TIME", raising=False)
    settings = settings_of({"STOCKYARD_API_PORT": "9000", "STOCKYARD_ORDERS_HOLD_TIME": "3s"})
    assert (settings.api.port, settings.orders.hold_time.total_seconds()) == (9000, 3)
    assert settings_of({}).api.port == 8123
    assert settings_of({}).orders.hold_time.total_seconds() == 900
