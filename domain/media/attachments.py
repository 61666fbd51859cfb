"""Pictures of products. A product keeps a copy of what is shown of each, so that showing it reads no more."""

from collections.abc import Collection, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from domain.changes import Changes, Database, Doc, GuardFailed
from domain.errors import NotFound, NotReady, StaleRevision, TryAgain
from domain.media.errors import UnknownMedia
from domain.media.models import MEDIA
from domain.media.rules import DELETED, READY, attached
from domain.media.uploads import TRIES
from domain.products.service import Products
from domain.values import Clock, Id, Text, Value, new_id

#: Pictures of one product.
MOST = 20


class Picture(Value):
    """A medium on a product. `alt` says what is seen, for those who do not see it."""

    media_id: Id
    alt: Annotated[Text, Field(max_length=300)] | None = None


class ProductPictures(Value):
    """All pictures of a product, in the order in which they are shown; the first stands for it in lists."""

    media: Annotated[tuple[Picture, ...], Field(max_length=MOST)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({picture.media_id for picture in self.media}) != len(self.media):
            raise ValueError("a product has each medium once")
        return self


class Attachments:
    """Which product shows which media."""

    def __init__(self, *, database: Database, products: Products, clock: Clock) -> None:
        self._database = database
        self._products = products
        self._clock = clock

    async def set(
        self, ref: str, wanted: ProductPictures, *, expected: Collection[str] | None, actor: str
    ) -> Doc:
        """The product with these pictures and no others. `expected` as in `Products.edit`.

        Any account's media can be shown, once they are ready: the shop is one. Raises NotFound,
        StaleRevision, UnknownMedia, and NotReady for a medium that is not, or not yet.
        """
        for _ in range(TRIES):
            before = await self._products.get(ref)
            if before["deleted_at"] is not None:
                raise NotFound(product=ref)
            if expected is not None and before["revision"] not in expected:
                raise StaleRevision(product=before["_id"])
            changes = Changes()
            media = await self._pictures(wanted.media)
            now, revision = self._clock(), new_id()
            after = before | {"media": media, "revision": revision, "updated_at": now}
            _touch(changes, [picture["id"] for picture in media], revision)
            try:
                await self._products.write([(before, after)], actor=actor, beside=changes)
            except GuardFailed:
                continue
            return after
        raise TryAgain("others kept editing the same product or its media")

    async def _pictures(self, wanted: Sequence[Picture]) -> list[Doc]:
        ids = [picture.media_id for picture in wanted]
        found = self._database[MEDIA].find({"_id": {"$in": ids}})
        known = {row["_id"]: row async for row in found} if ids else {}
        for media_id in ids:
            row = known.get(media_id)
            if row is None or row["state"] == DELETED:
                raise UnknownMedia(media_id=media_id)
            if row["state"] != READY:
                raise NotReady(media_id=media_id, state=row["state"])
        return [attached(known[picture.media_id], alt=picture.alt) for picture in wanted]


def _touch(changes: Changes, media_ids: Sequence[str], revision: str) -> None:
    """Makes who deletes one of them at the same time look again whether a product shows it."""
    if media_ids:
        query = {"_id": {"$in": sorted(media_ids)}, "state": READY}
        touched = {"$set": {"revision": revision}}
        changes.update(MEDIA, query, touched, expect=len(media_ids), name="media")
