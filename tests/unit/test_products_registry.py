"""Product types: found by name, checked by their class, stored in their own form. No I/O."""

import math
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from domain.errors import InvalidAttributes, NotFound, UnknownProductType
from domain.products import (
    registry,
    types,  # noqa: F401 - fills the registry
    units,
)
from domain.products.registry import Attributes, product_type

#: Attributes of one product of each type, complete.
GIVEN: dict[str, dict[str, Any]] = {
    "general": {},
    "clothing": {
        "fabric": [{"name": "cotton", "percent": 60}, {"name": "linen", "percent": 40}],
        "audience": "women", "fit": "loose", "wash_c": 30, "made_in": "PT",
    },
    "electronics": {
        "brand": "Ohm", "model": "K-1", "power_w": 2200, "voltage_v": 230, "battery_wh": 10,
        "warranty_months": 36, "energy_class": "B", "ports": ["USB-C"],
    },
    "furniture": {
        "width_mm": 800, "depth_mm": 400, "height_mm": 1900, "material": "oak", "max_load_g": 30000,
        "assembly_required": True,
    },
    "book": {
        "isbn": "9780306406157", "authors": ["A. Author"], "publisher": "Plenum",
        "published_on": "1980-05-01", "language": "en", "pages": 371, "binding": "hardcover",
    },
    "grocery": {
        "net_weight_g": 500, "ingredients": "Tea.", "allergens": ["milk"], "store_at_least_c": 2,
        "store_at_most_c": 8, "best_before": "2027-01-31", "shelf_life_d": 90, "organic": True,
        "origin": "IN",
    },
}  # fmt: skip


@pytest.fixture
def registered() -> Iterator[None]:
    """Forgets the types that a test adds."""
    known = dict(registry._TYPES)
    yield
    registry._TYPES.clear()
    registry._TYPES.update(known)


def stored(name: str, given: dict[str, Any]) -> dict[str, Any]:
    return registry.attributes(name, given).stored()


def refusals(name: str, given: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidAttributes) as caught:
        registry.attributes(name, given)
    assert caught.value.detail["type"] == name
    return [each["field"] for each in caught.value.detail["errors"]]


def test_there_is_an_example_of_every_type():
    assert sorted(GIVEN) == registry.names()


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_what_is_stored_is_what_was_given_and_is_read_again(name: str):
    assert stored(name, GIVEN[name]) == GIVEN[name]
    assert stored(name, stored(name, GIVEN[name])) == stored(name, GIVEN[name])


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_types_schema_takes_its_example_and_no_unknown_attribute(name: str):
    validator = Draft202012Validator(registry.schema(name))
    validator.validate(GIVEN[name])
    assert not validator.is_valid(GIVEN[name] | {"wheels": 4})
    assert refusals(name, GIVEN[name] | {"wheels": 4}) == ["attributes.wheels"]


def test_measures_state_their_unit():
    width = registry.schema("furniture")["properties"]["width_mm"]
    assert (width["unit"], width["type"]) == ("mm", "integer")


def test_every_measure_has_the_unit_of_its_name():
    symbols = {"mm": "mm", "g": "g", "ml": "ml", "w": "W", "v": "V", "wh": "Wh", "c": "°C", "d": "d",
               "months": "month"}  # fmt: skip
    for name in registry.names():
        for field, schema in registry.schema(name)["properties"].items():
            whole = next((each for each in schema.get("anyOf", [schema]) if "unit" in each), None)
            if whole is not None:
                assert whole["unit"] == symbols[field.rsplit("_", 1)[-1]], field


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("clothing", {"fabric": []}, "attributes.fabric"),
        ("clothing", {"fabric": [{"name": "wool", "percent": 99}]}, "attributes"),
        ("clothing", {"wash_c": 96}, "attributes.wash_c"),
        ("clothing", {"audience": "cats"}, "attributes.audience"),
        ("electronics", {"brand": " "}, "attributes.brand"),
        ("electronics", {"model": "K\x001"}, "attributes.model"),
        ("electronics", {"power_w": "2200"}, "attributes.power_w"),
        ("electronics", {"power_w": 2200.5}, "attributes.power_w"),
        ("furniture", {"width_mm": 0}, "attributes.width_mm"),
        ("furniture", {"height_mm": True}, "attributes.height_mm"),
        ("furniture", {"assembly_required": "yes"}, "attributes.assembly_required"),
        ("book", {"isbn": "9780306406158"}, "attributes.isbn"),
        ("book", {"published_on": 0}, "attributes.published_on"),
        ("book", {"published_on": "1980-02-30"}, "attributes.published_on"),
        ("book", {"published_on": "1699920000"}, "attributes.published_on"),
        ("book", {"published_on": "1980-02-03T00:00:00"}, "attributes.published_on"),
        ("book", {"authors": ["A"] * 21}, "attributes.authors"),
        ("grocery", {"net_volume_ml": 500}, "attributes"),
        ("grocery", {"store_at_least_c": 9}, "attributes"),
        ("grocery", {"allergens": ["love"]}, "attributes.allergens.0"),
        ("grocery", {"origin": "in"}, "attributes.origin"),
    ],
)
def test_what_no_such_product_has_is_refused(name: str, change: dict[str, Any], field: str):
    assert refusals(name, GIVEN[name] | change) == [field]


def test_a_refusal_repeats_nothing_of_what_was_given():
    with pytest.raises(InvalidAttributes) as caught:
        registry.attributes("book", {"isbn": "secret", "authors": [], "x" * 999: 1})
    assert "secret" not in str(caught.value)
    assert all(len(each["field"]) <= 200 for each in caught.value.detail["errors"])


def test_a_type_that_does_not_exist_is_told_with_those_that_do():
    with pytest.raises(UnknownProductType) as caught:
        registry.attributes("boat", {})
    assert caught.value.detail == {"type": "boat", "known": registry.names()}
    with pytest.raises(NotFound):
        registry.schema("boat")


def test_a_new_type_is_one_class(registered: None):
    @product_type("candle")
    class Candle(Attributes):
        """Candles."""

        burns_h: Annotated[int, Field(strict=True, ge=1, json_schema_extra={"unit": "h"})]

    assert "candle" in registry.names()
    assert registry.attributes("candle", {"burns_h": 40}) == Candle(burns_h=40)
    assert registry.schema("candle")["properties"]["burns_h"]["unit"] == "h"
    assert "burns_h" in registry.attribute_names()


def test_a_measure_of_any_type_is_finite(registered: None):
    @product_type("scale")
    class Scale(Attributes):
        """Scales."""

        error_g: float

    for given in (math.inf, math.nan):
        with pytest.raises(InvalidAttributes):
            registry.attributes("scale", {"error_g": given})
    assert registry.attributes("scale", {"error_g": 0.5}) == Scale(error_g=0.5)


def test_a_name_is_one_types(registered: None):
    with pytest.raises(ValueError, match="book"):
        product_type("book")(Attributes)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("9780306406157", "9780306406157"),
        ("978-0-306-40615-7", "9780306406157"),
        ("0-306-40615-2", "9780306406157"),
        ("080442957X", "9780804429573"),
        ("0 8044 2957 x", "9780804429573"),
        ("979-10-90636-07-1", "9791090636071"),
    ],
)
def test_an_isbn_is_kept_as_its_thirteen_digits(given: str, kept: str):
    assert units.isbn(given) == kept


@pytest.mark.parametrize(
    "given",
    ["", "X", "0306406153", "X306406152", "9780306406158", "4006381333931", "٩٧٨٠٣٠٦٤٠٦١٥٧", "978030640615"],
)
def test_what_is_no_isbn_is_refused(given: str):
    with pytest.raises(ValueError, match=r"ISBN|check digit"):
        units.isbn(given)


@pytest.mark.parametrize("code", ["96385074", "036000291452", "4006381333931", "10614141000415"])
def test_barcodes_of_every_length_are_taken(code: str):
    assert units.gtin(code) == code
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    with pytest.raises(ValueError, match="check digit"):
        units.gtin(wrong)


@pytest.mark.parametrize("code", ["", "123", "123456789", "400638133393a", "٩٦٣٨٥٠٧٤"])
def test_what_is_no_barcode_is_refused(code: str):
    with pytest.raises(ValueError, match="GTIN"):
        units.gtin(code)
