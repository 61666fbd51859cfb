"""How products are made from forms and changed by them, and what a product has to be. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from unicodedata import normalize

from domain.errors import Invalid, InvalidTransition, OptionsTaken
from domain.products import (
    registry,
    types,  # noqa: F401 - for its effect: it fills the registry
)
from domain.products.forms import MOST_VARIANTS, NewProduct, NewVariant, ProductEdit, VariantEdit
from domain.products.rules import PUBLISHED, TRANSITIONS, Doc
from domain.values import Money


def new_product(form: NewProduct, *, product_id: str, slug: str, revision: str, now: datetime) -> Doc:
    """The product document.

    Raises UnknownProductType, InvalidAttributes, Invalid and OptionsTaken.
    """
    status = form.first_status()
    product: Doc = {
        "_id": product_id,
        "slug": slug,
        "name": form.name,
        "description": form.description,
        "category": form.category,
        "type": form.type,
        "attributes": registry.attributes(form.type, form.attributes).stored(),
        "options": list(form.options),
        "variants": [_new_variant(variant) for variant in form.all_variants()],
        "media": [],
        "status": status,
        "revision": revision,
        "created_at": now,
        "updated_at": now,
        "published_at": now if status == PUBLISHED else None,
        "deleted_at": None,
    }
    check(product)
    return product


def edited(product: Doc, form: ProductEdit, *, revision: str, now: datetime) -> Doc:
    """The product as the edit leaves it.

    Raises InvalidTransition, UnknownProductType, InvalidAttributes, Invalid and OptionsTaken.
    """
    given = form.model_dump(mode="json", exclude_unset=True, exclude={"attributes", "variants"})
    result = product | given | {"revision": revision, "updated_at": now}
    if form.status is not None and form.status != product["status"]:
        allowed = TRANSITIONS[product["status"]]
        if form.status not in allowed:
            raise InvalidTransition(state=product["status"], wanted=form.status, allowed=list(allowed))
        if form.status == PUBLISHED:
            result["published_at"] = product["published_at"] or now
    if form.attributes is not None or result["type"] != product["type"]:
        known = product["attributes"] if result["type"] == product["type"] else {}
        result["attributes"] = registry.attributes(
            result["type"], merged(known, form.attributes or {})
        ).stored()
    if form.variants is not None:
        result["variants"] = _edited_variants(product["variants"], form.variants)
    check(result)
    return result


def merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> Doc:
    """The target with the patch in it (JSON Merge Patch, RFC 7396): null takes a member away."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            known = result.get(name)
            result[name] = merged(known if isinstance(known, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def _new_variant(form: NewVariant) -> Doc:
    return {**form.model_dump(mode="json"), "active": True}


def _edited_variants(variants: Sequence[Doc], forms: Mapping[str, VariantEdit]) -> list[Doc]:
    result = [_edited_variant(each, forms.get(each["sku"])) for each in variants]
    known = {each["sku"] for each in variants}
    for sku, form in forms.items():
        if sku not in known:
            if form.price is None:
                raise Invalid(reason="new_variant_without_price", sku=sku)
            bare: Doc = {"sku": sku, "compare_at_price": None, "options": {}, "weight_g": 0, "barcode": None}
            currency = variants[0]["price"]["currency"]
            result.append(_edited_variant({**bare, "active": True, "price": {"currency": currency}}, form))
    return result


def _edited_variant(variant: Doc, form: VariantEdit | None) -> Doc:
    if form is None:
        return variant
    # Not `exclude_unset`, which would leave out the currency of a price that says none.
    given = form.model_dump(mode="json", include=form.model_fields_set)
    currency = variant["price"]["currency"]
    if form.price is not None:
        currency = given["price"]["currency"] = _currency(form.price, currency)
    if form.compare_at_price is not None:
        given["compare_at_price"]["currency"] = _currency(form.compare_at_price, currency)
    return variant | given


def _currency(price: Money, known: str) -> str:
    """That of an edit's price: a number alone is in the currency that there is, not in the default one."""
    return price.currency if "currency" in price.model_fields_set else known


def check(product: Doc) -> None:
    """Whether the product can be as it is. Raises Invalid, whose `reason` says why not, and OptionsTaken."""
    variants = product["variants"]
    if len(variants) > MOST_VARIANTS:
        raise Invalid(reason="too_many_variants", most=MOST_VARIANTS)
    _check_skus(variants)
    _check_options(product["options"], variants)
    _check_prices(variants)
    if product["status"] == PUBLISHED and not any(variant["active"] for variant in variants):
        raise Invalid(reason="nothing_to_sell")


def _check_skus(variants: Sequence[Doc]) -> None:
    skus = [variant["sku"] for variant in variants]
    if twice := sorted({sku for sku in skus if skus.count(sku) > 1}):
        raise Invalid(reason="sku_twice", skus=twice)


def _check_options(options: Sequence[str], variants: Sequence[Doc]) -> None:
    if len(set(options)) != len(options):
        raise Invalid(reason="option_twice", options=list(options))
    seen: dict[tuple[str, ...], str] = {}
    for variant in variants:
        if set(variant["options"]) != set(options):
            raise Invalid(reason="variant_options", sku=variant["sku"], options=list(options))
        choice = tuple(normalize("NFKC", variant["options"][option]).casefold() for option in options)
        if variant["active"]:
            if choice in seen:
                raise OptionsTaken(skus=[seen[choice], variant["sku"]], options=variant["options"])
            seen[choice] = variant["sku"]


def _check_prices(variants: Sequence[Doc]) -> None:
    currencies = {variant["price"]["currency"] for variant in variants}
    if len(currencies) > 1:
        raise Invalid(reason="several_currencies", currencies=sorted(currencies))
    for variant in variants:
        price, before = variant["price"], variant["compare_at_price"]
        if before and (before["currency"] != price["currency"] or before["amount"] <= price["amount"]):
            raise Invalid(reason="compare_at_price", sku=variant["sku"])
