"""Media without I/O: keys, parts, and what is kept of a picture."""

import pytest

from domain.media import rules


@pytest.mark.parametrize(
    ("size", "parts"),
    [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])],
)
def test_an_upload_is_cut_into_parts_of_one_size_and_a_rest(size: int, parts: list[int]):
    assert rules.part_sizes(size, 4) == parts


def test_keys_tell_which_bytes_they_are_of():
    assert rules.sha256_of(rules.original_key("ab")) == "ab"
    assert rules.sha256_of(f"{rules.renditions_prefix('ab')}thumb-1.webp") == "ab"
    assert rules.sha256_of(rules.upload_key("m")) is None
    assert rules.sha256_of("imports/ab") is None


@pytest.mark.parametrize(
    ("state", "before", "awaited"),
    [
        ("uploading", None, True),
        ("processing", None, True),
        ("ready", None, False),
        ("failed", None, False),
        ("deleted", "uploading", True),
        ("deleted", "processing", True),
        ("deleted", "ready", False),
        ("deleted", "failed", False),
    ],
)
def test_bytes_are_awaited_until_they_are_rendered(state: str, before: str | None, *, awaited: bool):
    error = {"code": "not_a_picture"} if "failed" in {state, before} else None
    assert rules.awaits_bytes({"state": state, "deleted_from": before, "error": error}) is awaited


@pytest.mark.parametrize(("state", "before"), [("failed", None), ("deleted", "failed")])
def test_bytes_that_nobody_has_looked_at_are_awaited(state: str, before: str | None):
    medium = {"state": state, "deleted_from": before, "error": {"code": "rendering_stopped"}}
    assert rules.awaits_bytes(medium)
    assert rules.stopped(medium) is (state == "failed")


def test_a_product_keeps_what_it_shows_and_no_more():
    rendition = {"name": "thumb", "content_type": "image/webp", "key": "k", "width": 2, "height": 1}
    medium = {
        "_id": "m",
        "width": 4,
        "height": 2,
        "account_id": "ada",
        "renditions": [{**rendition, "bytes": 9}],
    }
    assert rules.attached(medium, alt="A cup") == {
        "id": "m", "alt": "A cup", "width": 4, "height": 2, "renditions": [rendition]
    }  # fmt: skip
