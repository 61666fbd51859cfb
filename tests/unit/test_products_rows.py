import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import UnreadableFile
from domain.products.editing import new_product
from domain.products.forms import NewProduct
from domain.products.row_reader import LONGEST, LONGEST_ROW, read
from domain.products.rows import Line, Refused, Row, header, rows, written
from domain.products.upserts import Upserts
from domain.values import new_id

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HEAD = "sku,name,category,price\n"


def lines_of(text: str | bytes, form: str = "csv") -> list[Line]:
    return list(read(io.BytesIO(text if isinstance(text, bytes) else text.encode()), form))


def row_of(text: str | bytes, form: str = "csv") -> Row:
    (line,) = lines_of(text, form)
    assert isinstance(line.row, Row), line.row
    return line.row


def refusal_of(text: str | bytes, form: str = "csv") -> Refused:
    (line,) = lines_of(text, form)
    assert isinstance(line.row, Refused), line.row
    return line.row


def product(**changed: Any) -> dict[str, Any]:
    form: dict[str, Any] = {
        "name": "T-shirt", "category": "Shirts", "type": "clothing", "status": "published",
        "description": 'Two lines,\nand "quotes"',
        "attributes": {"fabric": [{"name": "cotton", "percent": 100}]},
        "options": ["size"],
        "variants": [
            {"sku": f"TS-{size}", "price": {"amount": 1999}, "options": {"size": size}, "weight_g": 180}
            for size in ("S", "M")
        ],
    }  # fmt: skip
    found = NewProduct.model_validate_json(json.dumps(form | changed))
    return new_product(found, product_id=new_id(), slug="t-shirt", revision="r", now=NOW)


def applied(upserts: Upserts, text: bytes, form: str) -> Upserts:
    for line in lines_of(text, form):
        upserts.take(line)
    return upserts


def stored(*products: dict[str, Any]) -> Upserts:
    owners = {variant["sku"]: each["_id"] for each in products for variant in each["variants"]}
    return Upserts(now=NOW, owners=owners, products={each["_id"]: each for each in products})


def test_a_row_of_csv_says_what_a_row_of_ndjson_says():
    csv_row = row_of(
        "sku,name,price,currency,compare_at_price,active,option:size,attribute:pages,attribute:isbn,type\n"
        "B-1,Book,1250,EUR,1500,TRUE,A5,320,9780306406157,book\n"
    )
    given = {
        "sku": "B-1", "name": "Book", "type": "book", "active": True, "options": {"size": "A5"},
        "price": {"amount": 1250, "currency": "EUR"}, "compare_at_price": {"amount": 1500, "currency": "EUR"},
        "attributes": {"pages": 320, "isbn": "9780306406157"},
    }  # fmt: skip
    assert csv_row == row_of(json.dumps(given), "ndjson")


def test_an_empty_cell_says_nothing():
    assert row_of("sku,name,price\nA,,\n").model_fields_set == {"sku"}


def test_lines_are_counted_as_an_editor_counts_them():
    text = 'sku,description\nA,"one\ntwo"\n\nB,x\nC,y,z\n'
    assert [line.number for line in lines_of(text)] == [2, 5, 6]
    assert [line.number for line in lines_of('{"sku":"A"}\n\n{"sku":"B"}\n', "ndjson")] == [1, 3]


def test_a_byte_order_mark_and_windows_lines_are_no_part_of_the_data():
    assert row_of(b"\xef\xbb\xbfsku,name\r\nA,Chai\r\n").name == "Chai"
    assert row_of(b'\xef\xbb\xbf{"sku":"A","name":"Chai"}\r\n', "ndjson").name == "Chai"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,price\nA,1\n", "no column sku"),
        ("sku,sku\nA,B\n", "twice"),
        (b"sku,attribute:\xff\nA,1\n", "no valid UTF-8"),
        ("sku,colour\nA,red\n", "no column 'colour'"),
        ('sku,name\nA,"never closed\n', "unexpected end"),
        ("sku," + ",".join(f"option:o{number}" for number in range(200)) + "\n", "more than 200"),
    ],
)  # fmt: skip
def test_a_file_without_the_form_is_refused_as_a_whole(text, reason):
    with pytest.raises(UnreadableFile) as error:
        lines_of(text)
    assert reason in error.value.detail["reason"]


def test_a_line_without_end_is_not_read_into_memory():
    with pytest.raises(UnreadableFile):
        lines_of(b'{"sku":"' + b"A" * LONGEST + b'"}', "ndjson")
    with pytest.raises(UnreadableFile):
        lines_of(b"sku,name\nA," + b"x" * (LONGEST + 1) + b"\n")
    # Short fields without end, on one line or on many.
    for cell in (b"x,", b'"\n",'):
        with pytest.raises(UnreadableFile):
            lines_of(b"sku,name\n" + cell * (LONGEST_ROW // len(cell) + 1) + b"\n")


@pytest.mark.parametrize(
    ("cells", "field", "code"),
    [
        ("A,Chai,Tea,12.50", "price", "unreadable_cell"),
        ("A,Chai,Tea,1_000", "price", "unreadable_cell"),
        ("A,Chai,Tea,-1", "price.amount", "greater_than_equal"),
        ("A,Chai,Tea,99999999999999999999", "price", "unreadable_cell"),
        ("$gt,Chai,Tea,1", "sku", "string_pattern_mismatch"),
        (",Chai,Tea,1", "sku", "missing"),
        ("A,Chai,Tea", None, "wrong_number_of_fields"),
        ("A,Chai,Tea,1,2", None, "wrong_number_of_fields"),
        ("A,Ch\x00ai,Tea,1", "name", "string_pattern_mismatch"),
    ],
)
def test_a_wrong_row_says_where_it_is_wrong(cells, field, code):
    refused = refusal_of(HEAD + cells + "\n")
    assert (refused.line, refused.field, refused.code) == (2, field, code)


def test_bytes_that_are_no_utf8_refuse_their_row_alone():
    first, second = lines_of(b"sku,name\nA,caf\xe9\nB,caf\xc3\xa9\n")
    assert isinstance(first.row, Refused)
    assert first.row.field == "name"
    assert isinstance(second.row, Row)


@pytest.mark.parametrize("column", ["options", "attributes"])
@pytest.mark.parametrize(
    "cell", ["[1]", "1", "null", "NaN", '{"a": "\\ud800"}', '{"a": 1, "a": 2}', '{"a":' * 500]
)
def test_what_is_no_object_refuses_its_row_alone(column, cell):
    quoted = cell.replace('"', '""')
    first, second = lines_of(f'sku,{column},{column[:-1]}:size\nA,"{quoted}",1\nB,,1\n')
    assert isinstance(first.row, Refused)
    assert (first.row.field, first.row.code) == (column, "unreadable_cell")
    assert isinstance(second.row, Row)


@pytest.mark.parametrize(
    "text",
    ["[]", "1", "{", '{"sku":"A","sku":"B"}', '{"sku":' * 500, '{"sku":"A","colour":"red"}', '{"sku":"A"}x'],
)
def test_a_line_that_is_no_row_is_refused(text):
    assert refusal_of(text, "ndjson").line == 1


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_what_was_written_reads_back_and_changes_nothing(form):
    one = product()
    text = header(form) + written([one], form)
    upserts = applied(stored(one), text, form)
    assert (upserts.outcomes, upserts.refused, upserts.writes()) == (["unchanged"] * 2, [], [])


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_what_was_written_makes_the_same_product_elsewhere(form):
    one = product()
    upserts = applied(stored(), header(form) + written([one], form), form)
    assert upserts.outcomes == ["created", "created"]
    (draft,) = upserts.writes()
    same = ("slug", "name", "category", "type", "attributes", "options", "variants", "status", "description")
    assert {name: draft.after[name] for name in same} == {name: one[name] for name in same}


@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_any_name_survives_both_forms(name):
    name = name.strip()
    if not name:
        return
    one = product() | {"name": name}
    for form in ("csv", "ndjson"):
        first, *_ = lines_of(header(form) + written([one], form), form)
        assert isinstance(first.row, Row)
        assert first.row.name == name


def test_a_row_edits_what_it_names_and_nothing_else():
    one = product()
    upserts = applied(stored(one), b"sku,price\nTS-S,2499\n", "csv")
    (draft,) = upserts.writes()
    assert [variant["price"]["amount"] for variant in draft.after["variants"]] == [2499, 1999]
    assert draft.after["name"] == "T-shirt"
    assert next(rows(draft.after))["price"] == {"amount": 2499, "currency": "USD"}


def test_a_row_with_a_known_product_and_a_new_sku_is_a_new_variant():
    one = product()
    upserts = applied(stored(one), b"sku,product,price,option:size\nTS-L,t-shirt,1999,L\n", "csv")
    assert upserts.outcomes == ["created"]
    assert [variant["sku"] for variant in upserts.writes()[0].after["variants"]] == ["TS-S", "TS-M", "TS-L"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sku,product,price\nTS-S,other,1\n", "sku_taken"),
        ("sku,name,category\nNEW,New,Things\n", "invalid"),
        ("sku,product,price,option:size\nTS-X,t-shirt,1,M\n", "options_taken"),
        ("sku,product,price\nTS-X,t-shirt,1\n", "invalid"),
        ("sku,status\nTS-S,draft\n", "invalid_transition"),
        ("sku,type\nTS-S,teapot\n", "unknown_product_type"),
        ("sku,attribute:pages\nTS-S,12\n", "invalid_attributes"),
        ("sku,name,category,price,status\nNEW,New,Things,1,archived\n", "invalid"),
    ],
)
def test_a_row_that_cannot_be_is_refused_and_takes_nothing_along(text, code):
    upserts = applied(stored(product()), text.encode(), "csv")
    assert [refused.code for refused in upserts.refused] == [code]
    assert upserts.writes() == []


def test_a_row_with_a_wrong_attribute_says_which_one():
    upserts = applied(stored(product()), b"sku,attribute:fabric\nTS-S,[]\n", "csv")
    assert (upserts.refused[0].field, upserts.refused[0].sku) == ("attributes.fabric", "TS-S")


def test_a_price_without_a_currency_is_in_the_one_that_there_is():
    variants = [{"sku": "TS", "price": {"amount": 1999, "currency": "EUR"}}]
    upserts = applied(stored(product(options=[], variants=variants)), b"sku,price\nTS,2100\n", "csv")
    (draft,) = upserts.writes()
    assert draft.after["variants"][0]["price"] == {"amount": 2100, "currency": "EUR"}


def test_the_same_sku_twice_is_the_later_row():
    upserts = applied(stored(), HEAD.encode() + b"A,One,Tea,1\nA,Two,Tea,2\n", "csv")
    assert upserts.outcomes == ["created", "updated"]
    (draft,) = upserts.writes()
    assert (draft.after["name"], draft.after["variants"][0]["price"]["amount"]) == ("Two", 2)


def test_two_new_products_of_one_name_have_two_slugs():
    upserts = applied(stored(), HEAD.encode() + b"A,Chai,Tea,1\nB,Chai,Tea,1\n", "csv")
    slugs = {draft.after["slug"] for draft in upserts.writes()}
    assert len(slugs) == 2
    assert "chai" in slugs
