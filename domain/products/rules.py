"""What is known of products, and of the SKUs that they are sold under. Pure.

A product is one document with its variants in it; each variant is sold under a SKU of its own. What the hot
path needs of a SKU stands beside it in a row keyed by the SKU, written in the same transaction: `SkuFacts`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypedDict

from slugify import slugify

from domain.errors import NotForSale, UnknownSku
from domain.events.rules import rfc3339

Doc = dict[str, Any]

DRAFT, PUBLISHED, ARCHIVED = "draft", "published", "archived"
#: Which status may follow on which. What was for sale is archived, never a draft again at once.
TRANSITIONS: Mapping[str, tuple[str, ...]] = {
    DRAFT: (PUBLISHED, ARCHIVED),
    PUBLISHED: (ARCHIVED,),
    ARCHIVED: (PUBLISHED, DRAFT),
}
#: The longest slug that is made of a name.
LONGEST_SLUG = 80
#: Characters of a product's id that tell its slug from that of a namesake.
SUFFIX = 6
#: What a slug is made of where the name has nothing to offer.
NAMELESS = "product"


class SkuFacts(TypedDict):
    """What pricing, discounts, shipping, tax and stock may know of a SKU: `Products.facts` answers these.

    `price` is `{"amount": 1800, "currency": "USD"}`. `weight_g` is 0 where nobody stated it. A SKU that is
    not `sellable` was for sale once: its product was archived or deleted, or the variant was put aside. A SKU
    that was never for sale has no facts at all, as far as anybody who buys can tell.
    """

    sku: str
    name: str
    price: dict[str, Any]
    product_id: str
    category: str
    type: str
    weight_g: int
    sellable: bool


def require_sellable(skus: Iterable[str], facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UnknownSku with the SKUs that have no facts, NotForSale with those that are not sellable."""
    wanted = sorted(set(skus))
    if unknown := [sku for sku in wanted if sku not in facts]:
        raise UnknownSku(skus=unknown)
    if refused := [sku for sku in wanted if not facts[sku]["sellable"]]:
        raise NotForSale(skus=refused)


def slugs(name: str, product_id: str) -> Iterator[str]:
    """What the product may be called in addresses, best first: by its name, then with a suffix of its own.

    The suffix comes from the id, so that the same product gets the same one whenever it is asked.
    """
    plain = slugify(name, max_length=LONGEST_SLUG, word_boundary=True) or NAMELESS
    yield plain
    yield f"{plain}-{product_id[-SUFFIX:]}"
    yield f"{plain}-{product_id}"


def sku_rows(product: Doc) -> list[Doc]:
    """What the hot path knows of each variant: the store's form of `SkuFacts`."""
    public = product["published_at"] is not None
    sold = product["status"] == PUBLISHED and product["deleted_at"] is None
    return [
        {
            "_id": variant["sku"],
            "product_id": product["_id"],
            "name": _full_name(product, variant),
            "price": variant["price"],
            "category": product["category"],
            "type": product["type"],
            "weight_g": variant["weight_g"],
            "sellable": sold and variant["active"],
            "public": public,
        }
        for variant in product["variants"]
    ]


def _full_name(product: Doc, variant: Doc) -> str:
    """As an order's line has it: T-shirt (M, red)."""
    choices = ", ".join(variant["options"][option] for option in product["options"])
    return f"{product['name']} ({choices})" if choices else str(product["name"])


def price_changes(before: Doc, after: Doc) -> Iterator[tuple[str, Doc, Doc]]:
    """(SKU, old price, new price) of each variant whose price is another."""
    old = {variant["sku"]: variant["price"] for variant in before["variants"]}
    for variant in after["variants"]:
        known = old.get(variant["sku"])
        if known is not None and known != variant["price"]:
            yield variant["sku"], known, variant["price"]


def is_shown(product: Doc) -> bool:
    """Whether everybody may see it."""
    return product["status"] == PUBLISHED and product["deleted_at"] is None


def view(product: Doc, *, editor: bool = False) -> Doc:
    """The product as it is shown; JSON. Editors see variants that are put aside, too.

    `sku` and `price` are those of its first variant: what a list shows.
    """
    variants = [variant for variant in product["variants"] if editor or variant["active"]]
    first = next((variant for variant in variants if variant["active"]), variants[0])
    times = ("created_at", "updated_at", "published_at", "deleted_at")
    return {
        "id": product["_id"],
        "slug": product["slug"],
        "sku": first["sku"],
        "name": product["name"],
        "description": product["description"],
        "category": product["category"],
        "type": product["type"],
        "attributes": product["attributes"],
        "price": first["price"],
        "options": product["options"],
        "variants": variants,
        "media": product.get("media", []),
        "status": product["status"],
        **{name: rfc3339(product[name]) if product[name] else None for name in times},
    }
