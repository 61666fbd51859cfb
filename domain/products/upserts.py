"""Rows become products: what is there is edited, what is not is made. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from domain.changes import Doc
from domain.errors import DomainError, Invalid, InvalidAttributes, SkuTaken
from domain.products.editing import edited, new_product
from domain.products.forms import NewProduct, NewVariant, ProductEdit, VariantEdit
from domain.products.row_reader import refused
from domain.products.rows import Line, Refused, Row
from domain.products.rules import slugs
from domain.values import new_id

#: Fields of a row that are its product's, and those that are its variant's.
_OF_PRODUCT = ("name", "category", "type", "status", "attributes", "description")
_OF_VARIANT = ("price", "compare_at_price", "weight_g", "barcode", "active", "options")
#: What every write changes and no row says.
_STAMPS = ("revision", "updated_at", "published_at")


@dataclass(slots=True)
class Draft:
    """A product as it was found, None for a new one, and as the rows so far leave it."""

    before: Doc | None
    after: Doc


@dataclass(slots=True)
class Upserts:
    """What the rows of one chunk make of the products that it touches, given what was read of them."""

    now: datetime
    #: By SKU: the product that has it.
    owners: dict[str, str]
    #: By id, of the SKUs and slugs of the chunk.
    products: Mapping[str, Doc]
    drafts: dict[str, Draft] = field(default_factory=dict)
    slugs: dict[str, str] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Knows the slugs of what was found."""
        self.slugs = {product["slug"]: product_id for product_id, product in self.products.items()}

    def take(self, line: Line) -> None:
        """Applies one row, or notes why not."""
        row = line.row
        if isinstance(row, Refused):
            self.refused.append(row)
            return
        try:
            self.outcomes.append(self._apply(row))
        except ValidationError as error:
            self.refused.append(refused(line.number, error, sku=row.sku))
        except DomainError as error:
            self.refused.append(_refused(line.number, row, error))

    def writes(self) -> list[Draft]:
        """The products that differ from what was found."""
        return [draft for draft in self.drafts.values() if draft.after is not draft.before]

    def _apply(self, row: Row) -> str:
        product_id = self._product_of(row)
        if product_id is None:
            self._make(row)
            return "created"
        draft = self._draft(product_id)
        if draft.after["deleted_at"] is not None:
            raise Invalid(reason="its product was deleted")
        known = row.sku in self.owners
        after = edited(draft.after, _edit(row, draft.after, known=known), revision=new_id(), now=self.now)
        self.owners[row.sku] = product_id
        if _same(after, draft.after):
            return "unchanged"
        draft.after = after
        return "updated" if known else "created"

    def _product_of(self, row: Row) -> str | None:
        of_sku = self.owners.get(row.sku)
        of_slug = self.slugs.get(row.product) if row.product else None
        if of_sku and row.product and of_sku != of_slug:
            raise SkuTaken(sku=row.sku, reason="it belongs to another product than the row says")
        return of_sku or of_slug

    def _draft(self, product_id: str) -> Draft:
        if product_id not in self.drafts:
            found = self.products[product_id]
            self.drafts[product_id] = Draft(found, found)
        return self.drafts[product_id]

    def _make(self, row: Row) -> None:
        missing = [name for name in ("name", "category", "price") if getattr(row, name) is None]
        if missing:
            raise Invalid(reason=f"a new product needs {', '.join(missing)}")
        if row.status == "archived":
            raise Invalid(reason="a new product cannot be archived")
        product_id = new_id()
        slug = row.product or next(
            each for each in slugs(row.name or "", product_id) if each not in self.slugs
        )
        product = new_product(_form(row), product_id=product_id, slug=slug, revision=new_id(), now=self.now)
        if row.active is False:
            raise Invalid(reason="the first SKU of a product is active")
        self.drafts[product_id] = Draft(None, product)
        self.slugs[slug] = product_id
        self.owners[row.sku] = product_id


def _refused(line: int, row: Row, error: DomainError) -> Refused:
    """Of attributes the first one that is wrong; of all else what the error says of itself."""
    field, reasons = None, [error.message]
    if isinstance(error, InvalidAttributes):
        first = error.detail["errors"][0]
        field, reasons = first["field"], [first["message"]]
    elif reason := error.detail.get("reason"):
        reasons.append(str(reason))
    return Refused(line=line, sku=row.sku, code=error.code, field=field, message=" ".join(reasons)[:300])


def plain_slugs(rows: Sequence[Row]) -> set[str]:
    """The slugs that new products of these rows would have at best."""
    return {next(slugs(row.name, "-")) for row in rows if row.name and not row.product}


def _form(row: Row) -> NewProduct:
    given = row.model_fields_set
    of_product = {name: getattr(row, name) for name in _OF_PRODUCT if getattr(row, name) is not None}
    of_variant = {
        name: getattr(row, name) for name in _OF_VARIANT if name in given and getattr(row, name) is not None
    }
    of_variant.pop("active", None)
    variant = NewVariant(sku=row.sku, **of_variant)
    return NewProduct(**of_product, options=tuple(row.options or ()), variants=(variant,))


def _edit(row: Row, product: Doc, *, known: bool) -> ProductEdit:
    """What the row changes; attributes that it gives take the place of all that there are."""
    given = row.model_fields_set
    of_product = {name: getattr(row, name) for name in _OF_PRODUCT if name in given}
    of_product = {
        name: value for name, value in of_product.items() if value is not None or name == "description"
    }
    if row.attributes is not None and of_product.get("type", product["type"]) == product["type"]:
        gone = dict.fromkeys(product["attributes"].keys() - row.attributes.keys())
        of_product["attributes"] = {**row.attributes, **gone}
    if of_product.get("status") == product["status"]:
        del of_product["status"]
    of_variant = {name: getattr(row, name) for name in _OF_VARIANT if name in given}
    clearable = ("compare_at_price", "barcode")
    of_variant = {name: value for name, value in of_variant.items() if value is not None or name in clearable}
    if not known and "options" not in of_variant:
        of_variant["options"] = {}
    return ProductEdit(**of_product, variants={row.sku: VariantEdit(**of_variant)})


def _same(one: Doc, other: Doc) -> bool:
    return {**one, **dict.fromkeys(_STAMPS)} == {**other, **dict.fromkeys(_STAMPS)}
