"""The worked cases of `docs/discounts.md` are what the rules say, and its tables are complete. No I/O."""

import dataclasses
import re

import pytest

from api.schemas.discount_steps import DiscountSteps, NewDiscount
from domain.discounts.rules import REASONS
from tests.unit.test_docs import CODE, ROOT, blocks, table
from tests.worked_cases import work

PAGE = ROOT / "docs/discounts.md"
CASES = {row[0]: [cell.strip("`") for cell in row[1:]] for row in table(PAGE, "cases")}


@pytest.mark.parametrize("case", CASES)
def test_a_worked_case_is_what_the_rules_say(case: str):
    basket, says, asked, before, outcome = CASES[case]
    assert work(basket, says, asked, before) == outcome


def test_every_reason_is_listed_in_the_order_in_which_it_is_told_and_has_a_case():
    assert [row[0].strip("`") for row in table(PAGE, "reasons")] == list(REASONS)
    told = {reason for case in CASES.values() for reason in re.findall(r"refused: (\w+)", case[-1])}
    assert told == set(REASONS)


def test_every_field_of_a_new_discount_is_listed():
    rows = re.findall(r"^\| `.+?` \| (.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name for row in rows for name in CODE.findall(row)}
    fields = set(NewDiscount.model_fields) - {"active"}
    assert fields <= listed
    assert set(DiscountSteps.model_fields) <= fields


def test_the_discount_that_is_built_on_the_page_can_be_built():
    (block,) = blocks(PAGE, "python")
    built: dict[str, object] = {}
    exec(block, built)  # noqa: S102 - our own page
    said = dataclasses.asdict(built["spring"])  # type: ignore[call-overload]
    assert (said["code"], said["min_spend"], said["cap"], said["limit"]) == ("SPRING", 5000, 2000, 500)
