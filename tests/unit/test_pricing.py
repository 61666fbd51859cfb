"""What an order costs: laws that hold for every basket, and cases worked out by hand."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.discounts.rules import Basket, Discounted, Terms, Usage, discounted
from domain.errors import CartChanged, Invalid, NoShippingTo, NotForSale, QuoteChanged
from domain.orders.expected import Expected, difference, surprise
from domain.orders.pricing import Discounts, Priced, Rates, price_order
from domain.orders.shipping import ShippingRate, ShippingTable, check_shipping_rates
from domain.orders.taxes import TaxRate, TaxTable, check_tax_rates, tax_on
from domain.values import Money, new_id

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SKUS = ("A", "B", "C")


def fact(sku: str, cents: int, grams: int = 0, *, sellable: bool = True) -> dict[str, Any]:
    return {
        "sku": sku, "name": sku, "price": {"amount": cents, "currency": "USD"}, "product_id": sku,
        "category": "Goods", "type": "book", "weight_g": grams, "sellable": sellable,
    }  # fmt: skip


def offering(*terms: Terms, codes: tuple[str, ...] = ()) -> Discounts:
    def discounts(basket: Basket) -> Discounted:
        return discounted(basket, terms, codes, Usage(), NOW)

    return discounts


def rates(
    shipping: tuple[ShippingRate, ...] = (), tax: tuple[TaxRate, ...] = (), country: str = "GB"
) -> dict[str, Any]:
    return {"rates": Rates(ShippingTable(shipping), TaxTable(tax)), "country": country}


def parcel(price: int, *, country: str = "GB", up_to_g: int | None = None) -> ShippingRate:
    return ShippingRate(country=country, up_to_g=up_to_g, price=Money(amount=price))


def tax(percent: Any, **more: Any) -> TaxRate:
    return TaxRate(country="GB", percent=Decimal(str(percent)), **more)


# -- laws --

items = st.lists(
    st.fixed_dictionaries({"sku": st.sampled_from(SKUS), "quantity": st.integers(1, 50)}),
    min_size=1,
    max_size=6,
)
prices = st.tuples(*[st.integers(0, 10_000)] * 3)
shipments = st.lists(st.integers(0, 5_000), max_size=1).map(lambda found: tuple(map(parcel, found)))
taxes = st.lists(
    st.builds(
        lambda points, included, shipping: tax(
            Decimal(points) / 1000, included=included, on_shipping=shipping
        ),
        st.integers(0, 100_000),
        st.booleans(),
        st.booleans(),
    ),
    max_size=1,
).map(tuple)
terms = st.lists(
    st.one_of(
        st.builds(
            lambda n, points, cap: Terms(
                id=f"p{n}", name=f"p{n}", kind="percent", code=f"P{n}", percent=Decimal(points) / 100,
                cap=cap, combines_with=frozenset("*"),
            ),
            st.integers(0, 3), st.integers(1, 10_000), st.none() | st.integers(0, 3000),
        ),
        st.builds(
            lambda n, amount: Terms(
                id=f"f{n}", name=f"f{n}", kind="fixed", code=f"F{n}", amount=amount, currency="USD",
                combines_with=frozenset("*"),
            ),
            st.integers(0, 3), st.integers(1, 200_000),
        ),
        st.builds(
            lambda n: Terms(
                id=f"s{n}", name=f"s{n}", kind="free_shipping", code=f"S{n}", combines_with=frozenset("*")
            ),
            st.integers(0, 3),
        ),
    ),
    max_size=4,
    unique_by=lambda each: each.id,
)  # fmt: skip


@given(
    items=items,
    prices=prices,
    shipments=shipments,
    taxes=taxes,
    terms=terms,
    random=st.randoms(use_true_random=False),
)
def test_totals_are_sums_of_their_parts_and_never_negative(
    *, items: Any, prices: Any, shipments: Any, taxes: Any, terms: Any, random: Any
):
    products = {sku: fact(sku, cents, 100) for sku, cents in zip(SKUS, prices, strict=True)}
    codes = tuple(each.code for each in terms)
    told = rates(shipments, taxes)
    priced = price_order(items, products, discounts=offering(*terms, codes=codes), **told)
    lines, applied = priced.lines, priced.discounted
    assert priced.gross == sum(line["gross"] for line in lines)
    assert priced.net == sum(line["net"] for line in lines)
    assert priced.discount == sum(line["discount"] for line in lines) + applied.shipping
    assert priced.discount == sum(each.amount for each in applied.applications)
    for line in lines:
        assert 0 <= line["discount"] <= line["net"]
        assert 0 <= line["tax"] <= line["net"] - line["discount"]
    assert 0 <= applied.shipping <= priced.shipping
    assert sum(line["tax"] for line in lines) <= priced.tax
    on_top = 0 if priced.tax_included else priced.tax
    assert priced.total == priced.net - priced.discount + priced.shipping + on_top >= 0
    # The order in which codes and terms are named means nothing.
    shuffled, again = list(terms), list(codes)
    random.shuffle(shuffled)
    random.shuffle(again)
    other = price_order(items, products, discounts=offering(*shuffled, codes=tuple(again)), **told)
    assert other.totals() == priced.totals()


@given(items, prices)
def test_with_empty_tables_and_no_discounts_the_total_is_the_net(items: Any, prices: Any):
    products = {sku: fact(sku, cents, 100) for sku, cents in zip(SKUS, prices, strict=True)}
    priced = price_order(items, products, **rates(country="Nowhere"))
    assert (priced.total, priced.shipping, priced.tax, priced.discount) == (priced.net, 0, 0, 0)


@given(st.integers(0, 10**9), st.integers(0, 1_000_000))
def test_tax_that_is_included_is_the_tax_on_the_rest(amount: int, points: int):
    percent = Decimal(points) / 10_000
    included = tax_on(amount, tax(percent, included=True))
    assert 0 <= included <= amount
    assert abs(tax_on(amount - included, tax(percent)) - included) <= 1


# -- by hand --


def one(cents: int, quantity: int = 1, grams: int = 0, **options: Any) -> Priced:
    return price_order([{"sku": "A", "quantity": quantity}], {"A": fact("A", cents, grams)}, **options)


def test_shipping_is_the_lightest_rate_of_the_country_that_takes_the_weight():
    table = (parcel(900), parcel(300, up_to_g=1000), parcel(500, up_to_g=5000), parcel(2000, country="*"))
    for grams, cents in ((0, 300), (1000, 300), (1001, 500), (5000, 500), (5001, 900)):
        assert one(1, grams=grams, **rates(table)).shipping == cents
    assert one(1, grams=500, quantity=3, **rates(table)).shipping == 500
    assert one(1, **rates(table, country=" gb ")).shipping == 300
    assert one(1, **rates(table, country="Norway")).shipping == 2000


@pytest.mark.parametrize(
    ("table", "country", "reason"),
    [
        ((parcel(300),), "Norway", "country"),
        ((parcel(300, up_to_g=999),), "GB", "weight"),
        ((ShippingRate(country="GB", price=Money(amount=1, currency="EUR")),), "GB", "currency"),
        # A country with entries of its own is not elsewhere.
        ((parcel(300, up_to_g=999), parcel(900, country="*")), "GB", "weight"),
    ],
)
def test_where_nothing_is_sent_to_says_why(table: Any, country: str, reason: str):
    with pytest.raises(NoShippingTo) as refused:
        one(1, grams=1000, **rates(table, country=country))
    assert refused.value.detail["reason"] == reason


def test_tax_comes_on_top_or_is_included_and_each_line_rounds_half_up():
    lines = [{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 1}]
    products = {"A": fact("A", 1_25)}
    # 10 % of 1.25 is 0.125: each line rounds up by itself.
    on_top = price_order(lines, products, **rates(tax=(tax(10),)))
    assert ([line["tax"] for line in on_top.lines], on_top.tax, on_top.total) == ([13, 13], 26, 2_76)
    # 20 % in 1.25 is 0.2083.
    included = price_order(lines, products, **rates(tax=(tax(20, included=True),)))
    assert (included.tax, included.tax_included, included.total) == (42, True, 2_50)
    sales = one(99_99, **rates(tax=(tax("8.875"),)))
    assert (sales.tax, sales.total) == (8_87, 108_86)


def test_shipping_is_taxed_where_the_rate_says_so():
    table = (parcel(5_00),)
    assert one(10_00, **rates(table, (tax(20),))).total == 10_00 + 5_00 + 2_00
    assert one(10_00, **rates(table, (tax(20, on_shipping=True),))).total == 10_00 + 5_00 + 3_00


def test_tax_is_on_what_is_left_after_discounts_and_free_shipping_acts_on_shipping():
    half = Terms(
        id="h", name="Half", kind="percent", code="HALF", percent=Decimal(50), combines_with=frozenset("*")
    )
    free = Terms(id="s", name="Free", kind="free_shipping", combines_with=frozenset("*"))
    told = rates((parcel(5_00),), (tax(20, on_shipping=True),))
    priced = one(10_00, **told, discounts=offering(half, free, codes=("HALF",)))
    assert (priced.discount, priced.shipping, priced.tax) == (5_00 + 5_00, 5_00, 1_00)
    assert priced.total == 10_00 - 10_00 + 5_00 + 1_00
    assert priced.totals()["discounts"] == [
        {
            "discount_id": "h", "code": "HALF", "name": "Half", "kind": "percent", "shipping": 0,
            "by_line": [{"line": 0, "sku": "A", "amount": 5_00}], "amount": 5_00,
        },
        {
            "discount_id": "s", "code": None, "name": "Free", "kind": "free_shipping", "shipping": 5_00,
            "by_line": [], "amount": 5_00,
        },
    ]  # fmt: skip


def test_two_lines_of_one_sku_are_explained_apart():
    off = Terms(id="o", name="Off", kind="percent", percent=Decimal(10))
    lines = [{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 3}]
    priced = price_order(lines, {"A": fact("A", 1000)}, **rates(), discounts=offering(off))
    assert [line["discount"] for line in priced.lines] == [100, 300]
    assert [each["line"] for each in priced.totals()["discounts"][0]["by_line"]] == [0, 1]


def test_without_a_country_there_is_neither_shipping_nor_tax():
    told = rates((parcel(5_00),), (tax(20),)) | {"country": None}
    assert one(10_00, **told).total == 10_00


def test_what_is_not_for_sale_has_no_price():
    with pytest.raises(NotForSale):
        price_order([{"sku": "A", "quantity": 1}], {"A": fact("A", 1, sellable=False)}, **rates())


def test_a_table_says_one_thing_once():
    with pytest.raises(Invalid):
        check_shipping_rates([parcel(1, up_to_g=5), parcel(2, up_to_g=5, country="gb ")])
    check_shipping_rates([parcel(1, up_to_g=5), parcel(2), parcel(1, country="NO")])
    with pytest.raises(Invalid):
        check_tax_rates([tax(1), tax(2)])


# -- what was told before --


def told(priced: Priced) -> Expected:
    return Expected.of_quote(new_id(), {"currency": "USD", "lines": priced.lines, **priced.totals()})


def test_what_costs_what_was_told_is_no_surprise():
    priced = one(1000, **rates((parcel(500),), (tax(20),)))
    assert difference(told(priced), priced) == []
    assert surprise({"expected": told(priced).model_dump(mode="json")}, priced) is None
    assert surprise({}, priced) is None


def test_a_difference_names_everything_that_changed():
    before = one(1000, quantity=2, **rates((parcel(500),), (tax(20),)))
    now = one(1100, quantity=2, **rates((parcel(600),), (tax(10),)))
    assert difference(told(before), now) == [
        {"what": "unit_price", "line": 0, "sku": "A", "before": 1000, "now": 1100},
        {"what": "shipping", "before": 500, "now": 600},
        {"what": "tax", "before": 400, "now": 220},
        {"what": "total", "before": 2900, "now": 3020},
    ]
    error = surprise({"expected": told(before).model_dump(mode="json")}, now)
    assert isinstance(error, QuoteChanged)
    # A cart promises its prices alone.
    shown = Expected.of_prices(before)
    assert [each["what"] for each in difference(shown, now)] == ["unit_price"]
    assert isinstance(surprise({"expected": shown.model_dump(mode="json")}, now), CartChanged)
    assert difference(shown, one(1000, quantity=2, **rates((parcel(600),)))) == []


def test_a_code_that_applies_no_more_is_part_of_the_difference():
    half = Terms(id="h", name="Half", kind="percent", code="HALF", percent=Decimal(50))
    price = partial(one, 1000, **rates())
    before = price(discounts=offering(half, codes=("HALF",)))
    now = price(discounts=offering(codes=("HALF",)))
    assert difference(told(before), now) == [
        {"what": "code", "code": "HALF", "reason": "unknown_code"},
        {"what": "discount", "before": 500, "now": 0},
        {"what": "total", "before": 500, "now": 1000},
    ]


def test_another_currency_is_a_difference():
    euros = price_order(
        [{"sku": "A", "quantity": 1}],
        {"A": fact("A", 1000) | {"price": {"amount": 1000, "currency": "EUR"}}},
        **rates(),
    )
    assert difference(told(one(1000, **rates())), euros) == [
        {"what": "currency", "before": "USD", "now": "EUR"}
    ]
