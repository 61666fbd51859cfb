"""If-Match is read as RFC 9110 has it. No I/O."""

import pytest
from fastapi import Request

from api.errors import BadRequest
from api.etag import CONDITIONAL, etag, if_match, tagged


def request(*values: str) -> Request:
    headers = [(b"if-match", value.encode("latin-1")) for value in values]
    return Request({"type": "http", "headers": headers})


def test_an_answer_has_the_tag_that_the_next_edit_sends():
    answer = tagged({"name": "Chai"}, "1", 201, {"Location": "/here"})
    assert (answer.status_code, answer.headers["etag"], answer.headers["location"]) == (201, '"1"', "/here")
    assert if_match(request(answer.headers["etag"])) == frozenset({"1"})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (('"1"',), {"1"}),
        (('"1", "2"',), {"1", "2"}),
        (('"1","2"',), {"1", "2"}),
        (('"1"', '"2"'), {"1", "2"}),
        ((' "1" ',), {"1"}),
        (('"a,b"',), {"a,b"}),
        (('""',), {""}),
        (('W/"1"',), set()),
        (('W/"1", "2"',), {"2"}),
        (("*",), None),
        ((" * ",), None),
    ],
)
def test_the_tags_of_a_request_are_the_revisions_that_its_sender_knows(
    values: tuple[str, ...], expected: set[str] | None
):
    assert if_match(request(*values)) == expected


@pytest.mark.parametrize(
    "value",
    ["", "1", '"1', '1"', '"1" "2"', '"1",', ',"1"', "'1'", 'w/"1"', '*, "1"', '"\x00"', '"é"',
     '"' + "a" * 201 + '"', ", ".join(['"1"'] * 21), '"1"' + " " * 5000 + "x"],
)  # fmt: skip
def test_what_is_no_list_of_tags_is_refused(value: str):
    with pytest.raises(BadRequest) as caught:
        if_match(request(value))
    assert (caught.value.status_code, caught.value.code) == (400, "if_match_invalid")


def test_an_edit_that_does_not_know_what_it_changes_is_refused():
    with pytest.raises(BadRequest) as caught:
        if_match(request())
    assert (caught.value.status_code, caught.value.code) == (428, "if_match_missing")


def test_the_documented_example_is_a_tag():
    (header,) = CONDITIONAL["parameters"]
    assert if_match(request(header["example"])) == frozenset({header["example"].strip('"')})
    assert etag("x") == '"x"'
