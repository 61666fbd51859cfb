"""Cursors: opaque to clients, input like any other to us."""

from base64 import urlsafe_b64encode
from typing import Any

import pytest

from api.answers import page
from api.cursors import LONGEST, CursorOf, Key, Uuid, encode
from api.errors import BadRequest
from domain.values import new_id

BY_PRICE = CursorOf[tuple[int, str]](tuple[int, Key])


def raw(text: bytes) -> str:
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def refused(cursors: CursorOf[Any], cursor: str) -> bool:
    with pytest.raises(BadRequest) as told:
        cursors.decode(cursor)
    return (told.value.status_code, told.value.code) == (422, "invalid_cursor")


def test_a_cursor_comes_back_as_the_value_that_it_was_made_of():
    for kind, value in ((Uuid, new_id()), (Key, "Ch\u00e9-1"), (tuple[int, Key], (1800, "CHAI-1"))):
        assert CursorOf(kind).decode(encode(value)) == value


def test_a_page_ends_with_the_cursor_of_its_last_row():
    shown, following = page([(1, "A"), (2, "B"), (3, "C")], 2, lambda row: row)
    assert (shown, following and BY_PRICE.decode(following)) == ([(1, "A"), (2, "B")], (2, "B"))
    assert page([(1, "A")], 2, lambda row: row) == ([(1, "A")], None)


def test_what_no_listing_has_given_is_refused():
    for cursor in ("", "x", "$gt", "\0", "..", "\u00e9", "%00", "A" * (LONGEST + 1), raw(b"{"), raw(b"\xff")):
        assert refused(CursorOf(Key), cursor), cursor


def test_a_cursor_of_another_listing_is_refused():
    for value in ("no-uuid", 7, None, {"$gt": ""}, ["x"], new_id().upper(), True):
        assert refused(CursorOf(Uuid), encode(value)), value
    rows: list[Any] = [["1", "A"], [1], [1, "A", 2], [1.5, "A"], [1, "A\0"], [1, ""], [True, "A"]]
    for value in rows:
        assert refused(BY_PRICE, encode(value)), value


def test_a_value_has_one_cursor():
    for other in (raw(b' "A"'), raw(b'"\\u0041"'), encode("A") + "=", encode("A") + "\n"):
        assert refused(CursorOf(Key), other), other
