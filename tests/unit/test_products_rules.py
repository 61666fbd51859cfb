"""What a product has to be, how an edit changes it, and what is known of its SKUs. No I/O."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.errors import DomainError, Invalid, InvalidTransition, NotForSale, OptionsTaken, UnknownSku
from domain.products import rules
from domain.products.editing import edited, merged, new_product
from domain.products.forms import NewProduct, ProductEdit
from domain.products.rules import TRANSITIONS, require_sellable, sku_rows, slugs, view
from domain.values import new_id

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
TEN = {"amount": 1000, "currency": "USD"}
SHORT = {"sku": "A", "name": "Chai", "price": TEN, "category": "Tea"}
TEE: dict[str, Any] = {
    "name": "Tee",
    "category": "Tops",
    "type": "clothing",
    "attributes": {"fabric": [{"name": "cotton", "percent": 100}], "wash_c": 30},
    "options": ["size", "colour"],
    "status": "published",
    "variants": [
        {"sku": "TEE-S", "price": TEN, "options": {"size": "S", "colour": "red"}, "weight_g": 150},
        {"sku": "TEE-M", "price": TEN, "options": {"size": "M", "colour": "red"}},
    ],
}


def made(form: dict[str, Any]) -> dict[str, Any]:
    product_id = new_id()
    slug = next(slugs(form["name"], product_id))
    return new_product(
        NewProduct.model_validate(form), product_id=product_id, slug=slug, revision="1", now=NOW
    )


def edit(product: dict[str, Any], **change: Any) -> dict[str, Any]:
    return edited(product, ProductEdit.model_validate(change), revision="2", now=LATER)


def reason(error: DomainError) -> str:
    return str(error.detail["reason"])


def test_the_short_form_is_a_published_product_of_one_variant_of_the_general_type():
    product = made(SHORT)
    assert (product["type"], product["status"], product["options"]) == ("general", "published", [])
    assert product["published_at"] == NOW
    (variant,) = product["variants"]
    assert variant == {
        "sku": "A", "price": TEN, "compare_at_price": None, "options": {}, "weight_g": 0, "barcode": None,
        "active": True,
    }  # fmt: skip


def test_the_full_form_is_a_draft_unless_it_says_otherwise():
    product = made({name: value for name, value in TEE.items() if name != "status"})
    assert (product["status"], product["published_at"]) == ("draft", None)
    assert made(TEE)["status"] == "published"
    assert made(SHORT | {"status": "draft"})["status"] == "draft"


@pytest.mark.parametrize(
    "change",
    [
        {"sku": "A", "price": TEN},
        {"weight_g": 1},
        {"variants": []},
        {"variants": [], "sku": "A"},
        {"variants": [], "sku": "A", "price": TEN},
        {"variants": [{"sku": f"S{n}", "price": TEN} for n in range(101)]},
        {"name": " "},
        {"name": "a\x00b"},
        {"slug": "Not-a-slug"},
        {"slug": "no--slug"},
        {"status": "archived"},
        {"options": ["Size"]},
        {"colour": "red"},
        {"description": "\n "},
    ],
)
def test_a_form_that_is_no_product_is_refused(change: dict[str, Any]):
    with pytest.raises(ValidationError):
        NewProduct.model_validate(TEE | change)


@pytest.mark.parametrize(
    ("variant", "why"),
    [
        ({"sku": "TEE-S"}, "sku_twice"),
        ({"options": {"size": "L"}}, "variant_options"),
        ({"options": {"size": "L", "colour": "red", "cut": "v"}}, "variant_options"),
        ({"price": {"amount": 1000, "currency": "EUR"}}, "several_currencies"),
        ({"compare_at_price": TEN}, "compare_at_price"),
        ({"compare_at_price": {"amount": 2000, "currency": "EUR"}}, "compare_at_price"),
    ],
)
def test_variants_that_do_not_go_together_are_refused(variant: dict[str, Any], why: str):
    third = {"sku": "TEE-L", "price": TEN, "options": {"size": "L", "colour": "red"}} | variant
    with pytest.raises(Invalid) as caught:
        made(TEE | {"variants": [*TEE["variants"], third]})
    assert reason(caught.value) == why


def test_an_option_is_named_once():
    with pytest.raises(Invalid) as caught:
        made(TEE | {"options": ["size", "size"]})
    assert reason(caught.value) == "option_twice"


def test_a_combination_of_options_is_one_variants_however_it_is_written():
    twin = {"sku": "TEE-S2", "price": TEN, "options": {"size": "s", "colour": "RED"}}
    with pytest.raises(OptionsTaken) as caught:
        made(TEE | {"variants": [*TEE["variants"], twin]})
    assert caught.value.detail["skus"] == ["TEE-S", "TEE-S2"]
    two = {"name": "Two", "category": "x", "options": ["size"]}
    for one, other in (("caf\u00e9", "cafe\u0301"), ("M", "\uff2d"), ("stra\u00dfe", "STRASSE")):
        sizes = [{"sku": size, "price": TEN, "options": {"size": size}} for size in (one, other)]
        with pytest.raises(OptionsTaken):
            made(two | {"variants": [each | {"sku": sku} for each, sku in zip(sizes, "AB", strict=True)]})
    with pytest.raises(OptionsTaken):
        made({"name": "Two", "category": "x", "variants": [{"sku": sku, "price": TEN} for sku in "AB"]})


def test_a_variant_that_is_put_aside_leaves_its_options_to_another():
    product = edit(made(TEE), variants={"TEE-S": {"active": False}})
    twin = {"price": TEN, "options": {"size": "S", "colour": "red"}}
    product = edit(product, variants={"TEE-S2": twin})
    with pytest.raises(OptionsTaken):
        edit(product, variants={"TEE-S": {"active": True}})


def test_every_transition_is_as_the_table_says():
    for state, allowed in TRANSITIONS.items():
        for wanted in TRANSITIONS:
            product = made(TEE) | {"status": state}
            if wanted == state or wanted in allowed:
                assert edit(product, status=wanted)["status"] == wanted
            else:
                with pytest.raises(InvalidTransition) as caught:
                    edit(product, status=wanted)
                assert caught.value.detail == {"state": state, "wanted": wanted, "allowed": list(allowed)}


def test_the_time_of_the_first_publication_stays():
    product = made(TEE | {"status": "draft"})
    product = edit(product, status="published")
    assert product["published_at"] == LATER
    again = edited(
        edit(product, status="archived"),
        ProductEdit(status="published"),
        revision="4",
        now=LATER + timedelta(days=1),
    )
    assert again["published_at"] == LATER


def test_an_edit_changes_what_it_names_and_nothing_else():
    before = made(TEE)
    after = edit(before, name="Tee 2", variants={"TEE-M": {"weight_g": 170}})
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"name", "variants", "revision", "updated_at"}
    assert after["variants"][1] == before["variants"][1] | {"weight_g": 170}
    assert after["slug"] == "tee"
    assert edit(before, description="Soft.")["description"] == "Soft."
    assert edit(edit(before, description="Soft."), description=None)["description"] is None


def test_a_price_without_a_currency_is_in_that_of_the_product():
    euros = made(SHORT | {"price": {"amount": 1000, "currency": "EUR"}})
    after = edit(euros, variants={"A": {"price": {"amount": 900}, "compare_at_price": {"amount": 1000}}})
    assert after["variants"][0]["price"] == {"amount": 900, "currency": "EUR"}
    assert after["variants"][0]["compare_at_price"] == {"amount": 1000, "currency": "EUR"}
    more = {"options": {"size": "L"}, "price": {"amount": 950}}
    wider = edit(euros, options=["size"], variants={"A": {"options": {"size": "S"}}, "A-L": more})
    assert wider["variants"][1]["price"] == {"amount": 950, "currency": "EUR"}
    dollars = edit(euros, variants={"A": {"price": {"amount": 900, "currency": "USD"}}})
    assert dollars["variants"][0]["price"] == {"amount": 900, "currency": "USD"}


def test_attributes_are_merged_and_null_takes_one_away():
    product = edit(made(TEE), attributes={"fit": "slim", "wash_c": None})
    assert product["attributes"] == {
        "fabric": [{"name": "cotton", "percent": 100}],
        "audience": "unisex",
        "fit": "slim",
    }


def test_another_type_begins_without_attributes():
    product = edit(made(TEE), type="general")
    assert (product["type"], product["attributes"]) == ("general", {})
    with pytest.raises(Invalid):
        edit(made(TEE), type="book")


def test_an_edit_can_give_a_product_options_and_new_variants():
    product = made(SHORT)
    product = edit(
        product,
        options=["size"],
        variants={"A": {"options": {"size": "S"}}, "A-L": {"price": TEN, "options": {"size": "L"}}},
    )
    assert [variant["sku"] for variant in product["variants"]] == ["A", "A-L"]
    assert product["variants"][1]["active"] is True


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"variants": {"NEW": {"options": {"size": "L", "colour": "red"}}}}, "new_variant_without_price"),
        ({"variants": {"TEE-S": {"active": False}, "TEE-M": {"active": False}}}, "nothing_to_sell"),
        ({"options": ["size"]}, "variant_options"),
    ],
)
def test_an_edit_leaves_a_product_that_can_be(change: dict[str, Any], why: str):
    with pytest.raises(Invalid) as caught:
        edit(made(TEE), **change)
    assert reason(caught.value) == why


def test_a_product_has_a_bounded_number_of_variants():
    many = {f"T{n}": {"price": TEN, "options": {"size": str(n), "colour": "red"}} for n in range(99)}
    with pytest.raises(Invalid) as caught:
        edit(made(TEE), variants=many)
    assert reason(caught.value) == "too_many_variants"


@pytest.mark.parametrize(
    "change",
    [{"name": None}, {"variants": None}, {"status": None}, {"variants": {"TEE-S": {"price": None}}},
     {"variants": {"TEE S": {}}}, {"status": "deleted"}, {"sku": "A"}],
)  # fmt: skip
def test_an_edit_takes_no_null_and_no_unknown_member(change: dict[str, Any]):
    with pytest.raises(ValidationError):
        ProductEdit.model_validate(change)


def test_the_rows_of_skus_say_what_an_order_needs():
    product = made(TEE)
    small, medium = sku_rows(product)
    assert small == {
        "_id": "TEE-S", "product_id": product["_id"], "name": "Tee (S, red)", "price": TEN,
        "category": "Tops", "type": "clothing", "weight_g": 150, "sellable": True, "public": True,
    }  # fmt: skip
    assert medium["weight_g"] == 0
    (row,) = sku_rows(made(SHORT))
    assert row["name"] == "Chai"


@pytest.mark.parametrize(
    ("change", "sellable", "public"),
    [
        ({}, True, True),
        ({"status": "draft", "published_at": None}, False, False),
        ({"status": "archived"}, False, True),
        ({"deleted_at": NOW}, False, True),
    ],
)
def test_only_what_is_published_is_sellable(change: dict[str, Any], *, sellable: bool, public: bool):
    (row,) = sku_rows(made(SHORT) | change)
    assert (row["sellable"], row["public"]) == (sellable, public)


def test_an_order_tells_what_never_was_for_sale_from_what_is_no_longer():
    facts = {"A": {"sellable": True}, "B": {"sellable": False}}
    require_sellable(["A", "A"], facts)
    with pytest.raises(UnknownSku) as unknown:
        require_sellable(["A", "B", "C"], facts)
    assert unknown.value.detail == {"skus": ["C"]}
    with pytest.raises(NotForSale) as gone:
        require_sellable(["A", "B"], facts)
    assert gone.value.detail == {"skus": ["B"]}


def test_prices_that_change_are_told_by_sku():
    before = made(TEE)
    after = edit(before, variants={"TEE-M": {"price": TEN | {"amount": 900}}, "TEE-S": {"weight_g": 1}})
    assert list(rules.price_changes(before, after)) == [("TEE-M", TEN, TEN | {"amount": 900})]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Côte de Blaye", "cote-de-blaye"),
        ("  50% off!  ", "50-off"),
        ("Чай", "chai"),
        ("🫖", "product"),
        ("word " * 40, "-".join(["word"] * 16)),
    ],
)
def test_a_slug_is_what_the_name_offers(name: str, slug: str):
    assert next(slugs(name, new_id())) == slug


def test_a_namesakes_slug_has_a_suffix_that_stays():
    product_id = new_id()
    assert list(slugs("Chai", product_id)) == list(slugs("Chai", product_id))
    assert list(slugs("Chai", product_id))[1:] == [f"chai-{product_id[-6:]}", f"chai-{product_id}"]


@settings(max_examples=40)
@given(st.text(max_size=100))
def test_every_name_has_a_slug_that_a_client_could_have_asked_for(name: str):
    for slug in list(slugs(name, new_id()))[:2]:
        ProductEdit(slug=slug)


def test_everybody_sees_what_is_sold_and_editors_see_what_is_put_aside():
    product = edit(made(TEE), variants={"TEE-S": {"active": False}})
    shown = view(product)
    assert [variant["sku"] for variant in shown["variants"]] == ["TEE-M"]
    assert (shown["sku"], shown["price"], shown["id"]) == ("TEE-M", TEN, product["_id"])
    assert [variant["sku"] for variant in view(product, editor=True)["variants"]] == ["TEE-S", "TEE-M"]


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_patches_are_merged_as_rfc_7396_has_it(
    target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]
):
    assert merged(target, patch) == result
