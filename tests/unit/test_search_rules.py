"""Words of texts: folded, split, weighed."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.products.search_rules import (
    ATTRIBUTE,
    DESCRIPTION,
    LONGEST_VALUE,
    LONGEST_WORD,
    MOST_TERMS,
    NAME,
    fold,
    pair,
    score,
    terms,
    texts,
    values,
    words,
)

TEXT = st.text(max_size=80)


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("Crème Brûlée", "creme brulee"),
        ("Weißbier", "weissbier"),
        ("Smørrebrød", "smorrebrod"),
        ("Łódź", "lodz"),
        ("ÆBLE", "aeble"),
        ("\u0130stanbul \u0131l\u0131k", "istanbul ilik"),
        ("\uff21\uff22\uff11", "ab1"),
        ("\ufb01ne", "fine"),
        ("plain", "plain"),
    ],
)
def test_accents_case_and_forms_are_folded(written: str, folded: str):
    assert fold(written) == folded


@given(TEXT)
def test_folding_twice_changes_nothing(text: str):
    assert fold(fold(text)) == fold(text)


def test_every_letter_of_the_alphabets_folds_for_good():
    letters = [chr(code) for code in range(0x3000)]
    assert [letter for letter in letters if fold(fold(letter)) != fold(letter)] == []


@given(TEXT)
def test_case_makes_no_other_words_of_plain_letters(text: str):
    plain = "".join(each for each in text if each in string.printable)
    assert list(words(plain.upper())) == list(words(plain.lower()))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Chef Anton's Cajun", ["chef", "antons", "cajun"]),
        ("Chef Anton\u2019s", ["chef", "antons"]),
        ("NW-001_b/12.5", ["nw", "001", "b", "12", "5"]),
        ("東京 tea", ["東", "京", "tea"]),
        ("tea東京", ["tea", "東", "京"]),
        ("हिन्दी चाय", ["हिनदी", "चाय"]),
        (".*[a-z]+$ \\d (x|y)", ["a", "z", "d", "x", "y"]),
        ("!!! ...", []),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_digits(text: str, found: list[str]):
    assert list(words(text)) == found


@given(TEXT)
def test_words_are_words_of_themselves(text: str):
    for word in words(text):
        assert 0 < len(word) <= LONGEST_WORD
        assert list(words(word)) == [word]


def test_a_word_counts_where_it_counts_most():
    assert terms([(NAME, "Green tea"), (DESCRIPTION, "A tea of leaves")]) == {
        "green": NAME, "tea": NAME, "a": DESCRIPTION, "of": DESCRIPTION, "leaves": DESCRIPTION,
    }  # fmt: skip
    assert terms([(DESCRIPTION, "tea"), (NAME, "tea")]) == {"tea": NAME}


def test_a_product_has_a_bounded_number_of_words():
    many = " ".join(f"w{number}" for number in range(2 * MOST_TERMS))
    found = terms([(NAME, "first"), (DESCRIPTION, many)])
    assert len(found) == MOST_TERMS
    assert found["first"] == NAME


def test_every_word_has_to_be_there_and_whole_words_count_more():
    tea = {"tea": NAME, "teapot": NAME, "green": ATTRIBUTE}
    assert score(["tea", "lemon"], tea) == 0
    assert score(["tea"], tea) > score(["te"], tea) > 0
    assert score(["tea", "green"], tea) > score(["tea"], tea)
    assert score(["tea"], {"tea": NAME}) > score(["tea"], {"tea": DESCRIPTION})


def test_attributes_become_values_to_filter_by_and_texts_to_search():
    attributes = {
        "fabric": [{"name": "cotton", "percent": 60}, {"name": "wool", "percent": 40}],
        "organic": True,
        "ports": ["USB-C", "HDMI"],
        "ingredients": "salt " * LONGEST_VALUE,
        "fit": None,
    }
    assert list(values(attributes)) == [
        ("fabric.name", "cotton"), ("fabric.percent", "60"),
        ("fabric.name", "wool"), ("fabric.percent", "40"),
        ("organic", "true"), ("ports", "USB-C"), ("ports", "HDMI"),
    ]  # fmt: skip
    found = list(texts(attributes))
    assert found[:6] == ["cotton", "60", "wool", "40", "USB-C", "HDMI"]
    assert len(found) == 7


def test_values_are_compared_without_accents_and_case():
    assert pair("colour", " Crème ") == pair("colour", "creme")
    assert pair("colour", "creme") != pair("color", "creme")


def test_nothing_that_is_searched_for_becomes_a_pattern():
    nasty = "(a+)+$ [z-a] \\ * ?"
    with pytest.raises(re.error):
        re.compile("[z-a]")
    assert list(words(nasty)) == ["a", "z", "a"]
