"""Addresses that media are told at, without a store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import Invalid, NotReady
from domain.media.delivery import Delivery
from domain.settings import Cdn

NOW = datetime(2031, 1, 1, tzinfo=UTC)
RENDITION = {"name": "thumb", "content_type": "image/webp", "key": "renditions/ab/t", "width": 2, "height": 1}
PRODUCT: dict[str, Any] = {
    "id": "p",
    "media": [
        {"id": "m", "alt": None, "renditions": [RENDITION]},
        {"id": "n", "alt": None, "renditions": []},
    ],
}
READY = {"_id": "m", "state": "ready", "sha256": "ab"}


class Signer:
    """Counts what it signs."""

    def __init__(self, *, restricts: bool = False) -> None:
        self.restricts = restricts
        self.asked: list[tuple[Any, ...]] = []

    async def sign(
        self, key: str, *, until: datetime, since: datetime | None = None, network: str | None = None
    ) -> str:
        self.asked.append((key, until, since, network))
        return f"https://s3/{key}?{len(self.asked)}"


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def delivery(signer: Signer, clock: Clock | None = None, **settings: Any) -> Delivery:
    cdn = Cdn.model_validate({"link_time": timedelta(hours=1), **settings})
    return Delivery(signer=signer, settings=cdn, clock=clock or Clock())


def url_of(shown: dict[str, Any]) -> str:
    return str(shown["media"][0]["renditions"][0]["url"])


async def test_public_objects_come_from_the_cdn_unsigned():
    signer = Signer()
    (shown,) = await delivery(signer, url="https://cdn.example.com").products([PRODUCT])
    assert url_of(shown) == "https://cdn.example.com/renditions/ab/t"
    assert signer.asked == []
    assert "key" not in shown["media"][0]["renditions"][0]
    assert "key" in PRODUCT["media"][0]["renditions"][0]


async def test_without_a_cdn_one_address_is_told_for_half_of_its_time():
    signer, clock = Signer(), Clock()
    told = delivery(signer, clock)
    (first,) = await told.products([PRODUCT])
    clock.now += timedelta(minutes=30)
    (second,) = await told.products([PRODUCT])
    assert url_of(second) == url_of(first)
    clock.now += timedelta(minutes=1)
    (third,) = await told.products([PRODUCT])
    assert url_of(third) != url_of(first)
    assert len(signer.asked) == 2


async def test_lists_show_the_first_picture_alone():
    (shown,) = await delivery(Signer()).products([PRODUCT], pictures=1)
    assert [each["id"] for each in shown["media"]] == ["m"]


async def test_an_address_begins_and_ends_as_it_was_asked():
    signer = Signer(restricts=True)
    since = NOW + timedelta(days=1)
    lasts = timedelta(minutes=5)
    link = await delivery(signer).link(READY, lasts=lasts, since=since, network="203.0.113.0/24")
    assert link.expires_at == since + lasts
    assert signer.asked == [("originals/ab", since + lasts, since, "203.0.113.0/24")]


@pytest.mark.parametrize("asked", [{"since": NOW}, {"network": "203.0.113.7"}], ids=str)
async def test_what_cannot_be_signed_is_refused(asked: dict[str, Any]):
    with pytest.raises(Invalid) as refused:
        await delivery(Signer()).link(READY, **asked)
    assert refused.value.detail == {"reason": "needs_cloudfront"}


async def test_there_is_no_address_before_there_is_an_original():
    with pytest.raises(NotReady):
        await delivery(Signer()).link({**READY, "state": "failed"})
