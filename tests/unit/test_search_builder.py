"""Questions to the catalogue: built step by step, refused as a whole."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidQuery
from domain.products import types  # noqa: F401 - fills the registry
from domain.products.builder import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_ATTRIBUTES,
    MOST_VALUES,
    SORTS,
    Query,
)
from domain.products.search_rules import LONGEST_VALUE, MOST_WORDS
from domain.values import Money

FIVE, TWENTY = Money(amount=500), Money(amount=2000)


def rules(query: Query) -> list[str]:
    with pytest.raises(InvalidQuery) as caught:
        query.build()
    return [each["rule"] for each in caught.value.detail["errors"]]


def test_a_query_reads_as_it_is_said():
    query = (
        Query.text("Crème brûlée")
        .type("book")
        .category("Desserts")
        .price(FIVE, TWENTY)
        .where(size="M")
        .where(size="L", colour="Red")
        .in_stock()
        .sort("price")
        .build()
    )
    assert query.words == ("creme", "brulee")
    assert query.types == {"book"}
    assert query.categories == {"Desserts"}
    assert (query.lowest, query.highest, query.currency) == (FIVE, TWENTY, "USD")
    assert dict(query.attributes) == {"size": {"size=m", "size=l"}, "colour": {"colour=red"}}
    assert (query.in_stock, query.sort, query.statuses) == (True, "price", None)


def test_a_step_leaves_the_builder_before_it_as_it_was():
    every = Query.all()
    every.type("book").in_stock()
    assert every.build() == Query.all().build()


def test_the_order_is_by_relevance_where_there_is_a_text_and_else_by_sku():
    assert Query.text("tea").build().sort == "relevance"
    assert Query.all().build().sort == "sku"


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        (Query.text("  "), "blank_text"),
        (Query.text("x" * (LONGEST_TEXT + 1)), "text_too_long"),
        (Query.text(" ".join(f"w{n}" for n in range(MOST_WORDS + 1))), "too_many_words"),
        (Query.all().type("spaceship"), "unknown_type"),
        (Query.all().category(*"abcdefghijklmnopqrstu"), "too_many_values"),
        (Query.all().price(FIVE, Money(amount=900, currency="EUR")), "price_currencies"),
        (Query.all().price(TWENTY, FIVE), "price_order"),
        (Query.all().where({f"a{n}": "x" for n in range(MOST_ATTRIBUTES + 1)}), "too_many_attributes"),
        (Query.all().where({"": "x"}), "attribute_name"),
        (Query.all().where({"x" * (LONGEST_NAME + 1): "x"}), "attribute_name"),
        (Query.all().where(size=" "), "attribute_value"),
        (Query.all().where(size="x" * (LONGEST_VALUE + 1)), "attribute_value"),
        (Query.all().status("draft", "secret"), "unknown_status"),
        (Query.all().sort("weight"), "unknown_sort"),
        (Query.all().sort("relevance"), "relevance_without_text"),
    ],
)
def test_a_refusal_names_the_rule(query: Query, rule: str):
    assert rules(query) == [rule]


def test_a_value_may_have_only_so_many_alternatives():
    query = Query.all()
    for number in range(MOST_VALUES + 1):
        query = query.where(size=str(number))
    assert rules(query) == ["too_many_values"]


def test_all_broken_rules_are_named_at_once():
    query = Query.text(" ").type("spaceship").price(TWENTY, FIVE).sort("weight")
    assert rules(query) == ["blank_text", "unknown_type", "price_order", "unknown_sort"]


def test_one_bound_of_a_price_is_enough():
    assert Query.all().price(highest=TWENTY).build().currency == "USD"
    assert Query.all().price(lowest=Money(amount=1, currency="EUR")).build().currency == "EUR"


@given(st.permutations(["book", "grocery", "clothing"]), st.permutations(["M", "L", "S"]))
def test_the_order_of_alternatives_makes_no_other_question(kinds: list[str], sizes: list[str]):
    query = Query.all().type(*kinds)
    for size in sizes:
        query = query.where(size=size)
    same = Query.all().type("book", "clothing", "grocery").where(size="S").where(size="M").where(size="L")
    assert query.build().fingerprint == same.build().fingerprint


def test_every_other_question_has_another_fingerprint():
    queries = [
        Query.all(), Query.text("tea"), Query.text("tea pot"), Query.text("..."), Query.all().in_stock(),
        Query.all().type("book"), Query.all().category("book"), Query.all().where(a="b"),
        Query.all().price(FIVE), Query.all().price(highest=FIVE), Query.all().status("draft"),
        *(Query.text("tea").sort(sort) for sort in SORTS if sort != "relevance"),
    ]  # fmt: skip
    assert len({query.build().fingerprint for query in queries}) == len(queries)


def test_a_fingerprint_is_the_same_in_every_process():
    code = (
        "from domain.products import types; from domain.products.builder import Query; "
        "print(Query.text('tea').type('book', 'grocery').where(b='1', a='2').build().fingerprint)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, env={"PYTHONHASHSEED": "1"}
    ).stdout
    own = Query.text("tea").type("grocery", "book").where(a="2").where(b="1").build().fingerprint
    assert other == f"{own}\n"
