"""What products are made from and edited by, however it comes in: bodies of requests, rows of files."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, StrictBool, StringConstraints, model_validator

from domain.products.registry import GENERAL
from domain.products.units import Barcode
from domain.values import Money, Prose, Sku, Text, Value

Status: TypeAlias = Literal["draft", "published", "archived"]
#: Bounds of one product.
MOST_VARIANTS, MOST_OPTIONS = 100, 5

Name = Annotated[Text, Field(max_length=200)]
Category = Annotated[Text, Field(max_length=100)]
Description = Annotated[Prose, Field(max_length=10_000)]
Slug = Annotated[str, StringConstraints(max_length=100, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
TypeName = Annotated[str, StringConstraints(max_length=50, pattern=r"^[a-z][a-z0-9_]*$")]
Option = Annotated[str, StringConstraints(max_length=30, pattern=r"^[a-z][a-z0-9_]*$")]
Options = Annotated[tuple[Option, ...], Field(max_length=MOST_OPTIONS)]
#: The variant's value of each option of its product.
Choices = Annotated[dict[Option, Annotated[Text, Field(max_length=60)]], Field(max_length=MOST_OPTIONS)]
#: Packed for shipping; 0 where it is not known, or weighs nothing.
Weight = Annotated[int, Field(strict=True, ge=0, le=10_000_000, json_schema_extra={"unit": "g"})]
#: Checked by the product's type.
GivenAttributes = Annotated[dict[str, Any], Field(max_length=100)]


Form = TypeVar("Form", bound=Value)


class NewVariant(Value):
    """What is sold under one SKU. `compare_at_price` is what it is said to cost elsewhere, or before."""

    sku: Sku
    price: Money
    compare_at_price: Money | None = None
    options: Choices = Field(default_factory=dict)
    weight_g: Weight = 0
    barcode: Barcode | None = None


class NewProduct(Value):
    """A product with its variants; or, in short, with the `sku` and `price` of its one variant.

    The short form is published at once unless it says otherwise, the full form is a draft unless it does.
    Without a `slug` one is made of the name.
    """

    name: Name
    category: Category
    description: Description | None = None
    type: TypeName = GENERAL
    attributes: GivenAttributes = Field(default_factory=dict)
    slug: Slug | None = None
    status: Literal["draft", "published"] | None = None
    options: Options = ()
    variants: Annotated[tuple[NewVariant, ...], Field(max_length=MOST_VARIANTS)] = ()
    sku: Sku | None = None
    price: Money | None = None
    weight_g: Weight = 0

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        short = {"sku", "price", "weight_g"} & self.model_fields_set
        if self.variants and short:
            raise ValueError("give either variants, or the sku and price of the only one")
        if not self.variants and (self.sku is None or self.price is None):
            raise ValueError("give variants, or the sku and price of the only one")
        if not self.variants and self.options:
            raise ValueError("options need variants")
        return self

    def all_variants(self) -> tuple[NewVariant, ...]:
        """The variants, also of the short form."""
        if self.sku is None or self.price is None:
            return self.variants
        return (NewVariant(sku=self.sku, price=self.price, weight_g=self.weight_g),)

    def first_status(self) -> str:
        """The status that it begins with."""
        return self.status or ("draft" if self.variants else "published")


class VariantEdit(Value):
    """What changes in a variant. A SKU that the product does not have is a new variant: it needs a price.

    Null takes `compare_at_price` or `barcode` away. A variant that is not `active` is neither shown nor sold.
    """

    price: Money | None = None
    compare_at_price: Money | None = None
    options: Choices | None = None
    weight_g: Weight | None = None
    barcode: Barcode | None = None
    active: StrictBool | None = None

    @model_validator(mode="after")
    def _no_null(self) -> Self:
        return _no_null(self, ("price", "options", "weight_g", "active"))


class ProductEdit(Value):
    """What changes in a product; what is left out stays. Null takes the description away.

    `attributes` are merged (RFC 7396): null takes one away. A product of another `type` begins with none.
    `variants` are those that change, by SKU. The slug stays when the name changes, unless it is given, too.
    """

    name: Name | None = None
    category: Category | None = None
    description: Description | None = None
    type: TypeName | None = None
    attributes: GivenAttributes | None = None
    slug: Slug | None = None
    status: Status | None = None
    options: Options | None = None
    variants: Annotated[dict[Sku, VariantEdit], Field(max_length=MOST_VARIANTS)] | None = None

    @model_validator(mode="after")
    def _no_null(self) -> Self:
        return _no_null(self, set(type(self).model_fields) - {"description"})


def _no_null(form: Form, names: Iterable[str]) -> Form:
    nulls = sorted(name for name in names if name in form.model_fields_set and getattr(form, name) is None)
    if nulls:
        raise ValueError(f"null is not taken for {', '.join(nulls)}")
    return form
