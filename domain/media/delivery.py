"""Addresses of media: renditions are public, originals are signed for whoever may see them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.changes import Doc
from domain.errors import Invalid, NotReady
from domain.media.rules import READY, original_key, view
from domain.ports import UrlSigner
from domain.settings import Cdn
from domain.values import Clock

#: Signed addresses of public objects that a process remembers, where there is no CDN.
REMEMBERED = 10_000
#: The longest that an address is good for: what S3 takes.
LONGEST = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Link:
    """A signed address, and when it ends."""

    url: str
    expires_at: datetime


class Delivery:
    """Where objects are read at.

    Without a CDN renditions are signed, too. The same address is told for half of its time, as browsers keep
    what they have seen by its address, and as signing takes longer than all else that shows a product.
    """

    def __init__(self, *, signer: UrlSigner, settings: Cdn, clock: Clock) -> None:
        self._signer = signer
        self._settings = settings
        self._clock = clock
        self._known: dict[str, Link] = {}

    async def media(self, media: Iterable[Mapping[str, Any]]) -> list[Doc]:
        """Media as they are shown, each rendition with its `url` in place of its key."""
        views = [view(medium) for medium in media]
        await self._address([rendition for shown in views for rendition in shown["renditions"]])
        return views

    async def products(self, views: Sequence[Doc], *, pictures: int | None = None) -> list[Doc]:
        """Views of products, as `domain.products.rules.view` makes them, with the first so many pictures."""
        told = [{**shown, "media": _copied(shown["media"][:pictures])} for shown in views]
        pages = [picture for shown in told for picture in shown["media"]]
        await self._address([rendition for picture in pages for rendition in picture["renditions"]])
        return told

    async def link(
        self,
        medium: Mapping[str, Any],
        *,
        lasts: timedelta | None = None,
        since: datetime | None = None,
        network: str | None = None,
    ) -> Link:
        """A signed address of the original. Raises NotReady, and Invalid for what cannot be signed.

        Only CloudFront can bind it to a time of beginning and to a network.
        """
        if medium["state"] != READY:
            raise NotReady(media_id=medium["_id"], state=medium["state"])
        if (since or network) and not self._signer.restricts:
            raise Invalid(reason="needs_cloudfront")
        until = (since or self._clock()) + (lasts or self._settings.link_time)
        key = original_key(str(medium["sha256"]))
        return Link(await self._signer.sign(key, until=until, since=since, network=network), until)

    async def _address(self, renditions: Sequence[Doc]) -> None:
        for rendition in renditions:
            key = rendition.pop("key")
            rendition["url"] = (
                f"{self._settings.url}/{key}" if self._settings.url else await self._signed(key)
            )

    async def _signed(self, key: str) -> str:
        now, lasts = self._clock(), self._settings.link_time
        known = self._known.get(key)
        if known is None or known.expires_at - now < lasts / 2:
            until = now + lasts
            known = Link(await self._signer.sign(key, until=until), until)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = known
        return known.url


def _copied(pictures: Sequence[Doc]) -> list[Doc]:
    """What may be changed: views of products are kept."""
    return [
        {**picture, "renditions": [dict(rendition) for rendition in picture["renditions"]]}
        for picture in pictures
    ]
