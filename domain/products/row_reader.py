"""Product files as rows, one at a time, with what is wrong where. Pure."""

import csv
import io
import json
import re
from collections.abc import Callable, Generator, Mapping
from functools import lru_cache
from typing import IO, Any

from pydantic import ValidationError
from pydantic_core import from_json

from domain.errors import UnreadableFile
from domain.products import registry
from domain.products.rows import COLUMNS, Doc, Line, Refused, Row

#: What begins the name of a column for one option or one attribute.
OPTION, ATTRIBUTE = "option:", "attribute:"
#: Bytes of the longest line of NDJSON, or characters of the longest field of CSV.
LONGEST = 131_072
#: Characters of the longest row of CSV, over all of its lines.
LONGEST_ROW = 8 * LONGEST
MOST_COLUMNS = 200

_BOM = b"\xef\xbb\xbf"
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOOLEANS = {"true": True, "false": False}
_NUMBERS = ("price", "compare_at_price", "weight_g")
_OBJECTS = ("options", "attributes")


class _Unreadable(ValueError):
    """A field of a row that cannot be read."""

    def __init__(self, field: str | None, reason: str, *, code: str = "unreadable_cell") -> None:
        self.code, self.field, self.reason = code, field, reason
        super().__init__(reason)


def read(file: IO[bytes], form: str) -> Generator[Line, None, None]:
    """The rows of a file, to be closed before the file; one is held at a time. Raises UnreadableFile."""
    return (_read_csv if form == "csv" else _read_ndjson)(file)


def _read_ndjson(file: IO[bytes]) -> Generator[Line, None, None]:
    number = 0
    while text := file.readline(LONGEST + 1):
        number += 1
        if len(text) > LONGEST:
            raise UnreadableFile(line=number, reason=f"a line has more than {LONGEST} bytes")
        if number == 1:
            text = text.removeprefix(_BOM)
        if text.strip():
            yield Line(number, _checked(number, _json_row, text))


def _json_row(text: bytes) -> Row:
    row = Row.model_validate_json(text)
    _refuse_twins(text.decode(), None)
    return row


def _read_csv(file: IO[bytes]) -> Generator[Line, None, None]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(_Lines(text))
    finally:
        text.detach()


class _Lines:
    """The lines of a text, as many as a row may have: a row that never ends is not read into memory."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        #: Of the row that is being read.
        self._characters = 0
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.number += 1
        line = self._text.readline(LONGEST_ROW + 1)
        self._characters += len(line)
        if self._characters > LONGEST_ROW:
            raise UnreadableFile(line=self.number, reason=f"a row has more than {LONGEST_ROW} characters")
        if not line:
            raise StopIteration
        return line

    def next_row(self) -> None:
        """What follows is counted anew."""
        self._characters = 0


def _csv_rows(lines: _Lines) -> Generator[Line, None, None]:
    header: list[str] | None = None
    reader = csv.reader(lines, strict=True)
    while True:
        number = reader.line_num + 1
        lines.next_row()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UnreadableFile(line=number, reason=str(error)) from None
        if cells is None:
            return
        if header is None:
            header = _header(cells)
        elif any(cells):
            yield Line(number, _csv_row(number, header, cells))


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(names) > MOST_COLUMNS:
        raise UnreadableFile(line=1, reason=f"more than {MOST_COLUMNS} columns")
    if any(map(_SURROGATE.search, names)):
        raise UnreadableFile(line=1, reason="the header is no valid UTF-8")
    if "sku" not in names:
        raise UnreadableFile(line=1, reason="the header has no column sku")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UnreadableFile(line=1, reason=f"the column {twice[0][:100]!a} is there twice")
    for name in names:
        if name not in COLUMNS and not name.startswith((OPTION, ATTRIBUTE)):
            raise UnreadableFile(line=1, reason=f"there is no column {name[:100]!a}")
    return names


def _csv_row(number: int, header: list[str], cells: list[str]) -> Row | Refused:
    if len(cells) != len(header):
        reason = f"{len(cells)} fields, where the header has {len(header)}"
        return Refused(line=number, code="wrong_number_of_fields", message=reason)
    named = dict(zip(header, cells, strict=True))
    return _checked(number, lambda given: Row.model_validate(_fields(given)), named)


def _fields(cells: Mapping[str, str]) -> Doc:
    """The row's fields as JSON has them; an empty cell says nothing. Raises _Unreadable."""
    given = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    for name, cell in given.items():
        if not cell.isprintable() and _SURROGATE.search(cell):
            raise _Unreadable(name, "no valid UTF-8")
    fields: Doc = {name: _cell(name, cell) for name, cell in given.items() if name in COLUMNS}
    currency = {"currency": fields.pop("currency")} if "currency" in fields else {}
    for name in ("price", "compare_at_price"):
        if name in fields:
            fields[name] = {"amount": fields[name], **currency}
    for name, cell in given.items():
        if name.startswith(OPTION):
            fields.setdefault("options", {})[name.removeprefix(OPTION)] = cell
        elif name.startswith(ATTRIBUTE):
            attribute = name.removeprefix(ATTRIBUTE)
            value = cell if _is_text(attribute, given.get("type")) else _json(name, cell)
            fields.setdefault("attributes", {})[attribute] = value
    return fields


def _cell(name: str, cell: str) -> Any:
    if name in _NUMBERS:
        if not _WHOLE.fullmatch(cell):
            raise _Unreadable(name, "a whole number, without separators")
        return int(cell)
    if name == "active":
        if cell.lower() not in _BOOLEANS:
            raise _Unreadable(name, "true or false")
        return _BOOLEANS[cell.lower()]
    if name in _OBJECTS:
        found = _json(name, cell)
        if not isinstance(found, dict):
            raise _Unreadable(name, "a JSON object")
        return found
    return cell


def _json(name: str, cell: str) -> Any:
    try:
        found = from_json(cell, allow_inf_nan=False)
    except ValueError:
        raise _Unreadable(name, "no valid JSON") from None
    _refuse_twins(cell, name)
    return found


def _refuse_twins(text: str, field: str | None) -> None:
    """Refuses objects that name a member twice, as bodies of requests are: nobody knows which was meant."""
    try:
        _TWINS.decode(text)
    except (ValueError, RecursionError) as error:
        code = "unreadable_cell" if field else "json_invalid"
        raise _Unreadable(field, str(error)[:200], code=code) from None


def _no_twins(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) != len(members):
        msg = "an object has two members of one name"
        raise ValueError(msg)


_TWINS = json.JSONDecoder(object_pairs_hook=_no_twins)


def _is_text(attribute: str, type_name: str | None) -> bool:
    """Whether the attribute's value is written as it is: its type, or some type, has it as a text."""
    known = registry.names()
    return _any_text(attribute, (type_name,) if type_name in known else tuple(known))


@lru_cache(maxsize=1024)
def _any_text(attribute: str, kinds: tuple[str, ...]) -> bool:
    schemas = [registry.schema(kind) for kind in kinds]
    return any(_has_text(schema, schema.get("properties", {}).get(attribute, {})) for schema in schemas)


def _has_text(schema: Doc, part: Doc) -> bool:
    if "$ref" in part:
        part = schema.get("$defs", {}).get(str(part["$ref"]).rpartition("/")[2], {})
    return part.get("type") == "string" or any(_has_text(schema, each) for each in part.get("anyOf", ()))


def _checked(number: int, make: Callable[[Any], Row], given: Any) -> Row | Refused:
    try:
        return make(given)
    except ValidationError as error:
        return refused(number, error)
    except _Unreadable as error:
        field = error.field[:100] if error.field else None
        return Refused(line=number, code=error.code, field=field, message=error.reason)


def refused(number: int, error: ValidationError, *, sku: str | None = None) -> Refused:
    """A row that is not as it has to be: where, and why."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:100]
    return Refused(line=number, sku=sku, code=first["type"], field=place or None, message=first["msg"][:300])
