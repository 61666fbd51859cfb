"""Pictures on the wire, as products and media show them."""

from pydantic import Field
from pydantic.config import JsonDict

from api.schemas.common import ID, Shown

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
RENDITION: JsonDict = {
    "name": "thumb",
    "content_type": "image/webp",
    "width": 200,
    "height": 150,
    "url": f"https://cdn.example.com/renditions/{SHA256}/thumb-5c6ab83e4f4d.webp",
}
#: As products show it.
PRODUCT_PICTURE: JsonDict = {
    "id": ID,
    "alt": "A T-shirt",
    "width": 4000,
    "height": 3000,
    "renditions": [RENDITION],
}


class RenditionView(Shown):
    """One picture made of the original."""

    name: str
    content_type: str
    width: int
    height: int
    bytes: int | None = None
    url: str


class PictureView(Shown):
    """A picture of a product."""

    id: str = Field(description="The medium's.")
    alt: str | None
    width: int
    height: int
    renditions: list[RenditionView]
