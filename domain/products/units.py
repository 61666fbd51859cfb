"""Measures, codes and texts that product types and variants are made of. A measure's schema has its unit."""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from domain.values import Text

_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _measure(unit: str, low: int, high: int) -> Any:
    return Field(strict=True, ge=low, le=high, json_schema_extra={"unit": unit})


Grams = Annotated[int, _measure("g", 1, 10_000_000)]
Millilitres = Annotated[int, _measure("ml", 1, 10_000_000)]
Millimetres = Annotated[int, _measure("mm", 1, 100_000)]
Watts = Annotated[int, _measure("W", 1, 100_000)]
Volts = Annotated[int, _measure("V", 1, 1000)]
WattHours = Annotated[int, _measure("Wh", 1, 100_000)]
Months = Annotated[int, _measure("month", 0, 600)]
Days = Annotated[int, _measure("d", 1, 36_500)]
Celsius = Annotated[int, _measure("°C", -80, 80)]
Percentage = Annotated[int, _measure("%", 1, 100)]

Name = Annotated[Text, Field(max_length=100)]
#: ISO 3166-1 alpha-2.
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
#: ISO 639-1.
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]

#: Lengths of GTIN-8, GTIN-12 (UPC), GTIN-13 (EAN) and GTIN-14.
GTIN_LENGTHS = (8, 12, 13, 14)
ISBN_10, ISBN_13 = 10, 13
#: Prefixes of ISBNs among the GTIN-13.
BOOKLAND = ("978", "979")


def gtin(code: str) -> str:
    """The digits of a GTIN whose last one is right (GS1 General Specifications, 7.9). Raises ValueError."""
    if len(code) not in GTIN_LENGTHS or not _digits(code):
        raise ValueError("a GTIN has 8, 12, 13 or 14 digits")
    if code[-1] != gtin_check_digit(code[:-1]):
        raise ValueError("the check digit is wrong")
    return code


def gtin_check_digit(digits: str) -> str:
    """The digit that follows these: weights 3 and 1 from the right."""
    total = sum(int(digit) * (3, 1)[place % 2] for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def isbn(code: str) -> str:
    """The ISBN-13 without hyphens; an ISBN-10 is turned into its ISBN-13. Raises ValueError."""
    bare = code.replace("-", "").replace(" ", "").upper()
    if len(bare) == ISBN_10 and _digits(bare[:-1]) and bare[-1] in "0123456789X":
        if bare[-1] != _isbn_10_check_digit(bare[:-1]):
            raise ValueError("the check digit is wrong")
        longer = "978" + bare[:-1]
        return longer + gtin_check_digit(longer)
    if len(bare) != ISBN_13 or not bare.startswith(BOOKLAND):
        raise ValueError("an ISBN has 10 digits, or 13 that begin with 978 or 979")
    return gtin(bare)


def _isbn_10_check_digit(digits: str) -> str:
    total = sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True))
    return "0123456789X"[-total % 11]


def _day(value: object) -> object:
    """Numbers and times are no days, although they could be read as such."""
    if not (isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value))):
        raise ValueError("a day is written YYYY-MM-DD")
    return value


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


#: A barcode: GTIN-8, -12, -13 or -14 with its check digit.
Barcode = Annotated[str, StringConstraints(max_length=14), AfterValidator(gtin)]
#: ISBN-13 as digits; hyphens and ISBN-10 are read, too.
Isbn = Annotated[str, StringConstraints(max_length=20), AfterValidator(isbn)]
#: A calendar day: YYYY-MM-DD.
Day = Annotated[date, BeforeValidator(_day)]
