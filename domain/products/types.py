"""The product types that come with the shop. One class each; see `domain/products/registry.py`."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from domain.products.registry import GENERAL, Attributes, product_type
from domain.products.units import (
    Celsius,
    Country,
    Day,
    Days,
    Grams,
    Isbn,
    Language,
    Millilitres,
    Millimetres,
    Months,
    Name,
    Percentage,
    Volts,
    WattHours,
    Watts,
)
from domain.values import Prose

#: Regulation (EU) No 1169/2011, annex II.
Allergen = Literal[
    "celery", "crustaceans", "eggs", "fish", "gluten", "lupin", "milk", "molluscs", "mustard", "nuts",
    "peanuts", "sesame", "soybeans", "sulphites",
]  # fmt: skip
EVERYTHING = 100


@product_type(GENERAL)
class General(Attributes):
    """Anything that needs no attributes."""


class Fibre(Attributes):
    """A share of a fabric, by weight."""

    name: Name
    percent: Percentage


@product_type("clothing")
class Clothing(Attributes):
    """What is worn. Size and colour are options of the variants."""

    fabric: Annotated[tuple[Fibre, ...], Field(min_length=1, max_length=10)]
    audience: Literal["women", "men", "unisex", "children"] = "unisex"
    fit: Literal["slim", "regular", "loose"] | None = None
    #: The hottest wash.
    wash_c: Annotated[Celsius, Field(ge=20, le=95)] | None = None
    made_in: Country | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if sum(fibre.percent for fibre in self.fabric) != EVERYTHING:
            raise ValueError("the shares of a fabric make 100 %")
        return self


@product_type("electronics")
class Electronics(Attributes):
    """What needs power."""

    brand: Name
    model: Name
    power_w: Watts | None = None
    voltage_v: Volts | None = None
    battery_wh: WattHours | None = None
    warranty_months: Months = 24
    energy_class: Literal["A", "B", "C", "D", "E", "F", "G"] | None = None
    ports: Annotated[tuple[Name, ...], Field(max_length=20)] = ()


@product_type("furniture")
class Furniture(Attributes):
    """What a room is filled with."""

    width_mm: Millimetres
    depth_mm: Millimetres
    height_mm: Millimetres
    material: Name
    max_load_g: Grams | None = None
    assembly_required: StrictBool = False


@product_type("book")
class Book(Attributes):
    """What is read."""

    isbn: Isbn
    authors: Annotated[tuple[Name, ...], Field(min_length=1, max_length=20)]
    publisher: Name | None = None
    published_on: Day | None = None
    language: Language | None = None
    pages: Annotated[int, Field(strict=True, ge=1, le=20_000)] | None = None
    binding: Literal["hardcover", "paperback", "spiral"] | None = None


@product_type("grocery")
class Grocery(Attributes):
    """What is eaten and drunk. Its net content is a weight or a volume."""

    net_weight_g: Grams | None = None
    net_volume_ml: Millilitres | None = None
    ingredients: Annotated[Prose, Field(max_length=2000)] | None = None
    allergens: Annotated[tuple[Allergen, ...], Field(max_length=14)] = ()
    store_at_least_c: Celsius | None = None
    store_at_most_c: Celsius | None = None
    best_before: Day | None = None
    shelf_life_d: Days | None = None
    organic: StrictBool = False
    origin: Country | None = None

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        if (self.net_weight_g is None) == (self.net_volume_ml is None):
            raise ValueError("give either net_weight_g or net_volume_ml")
        low, high = self.store_at_least_c, self.store_at_most_c
        if low is not None and high is not None and low > high:
            raise ValueError("store_at_least_c is above store_at_most_c")
        return self
