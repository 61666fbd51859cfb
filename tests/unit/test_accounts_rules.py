import pytest

from domain.accounts.passwords import JUDGED, LEET, MOST_LEET, _bounded
from domain.accounts.rules import (
    CUSTOMER_SCOPES,
    SCOPES,
    Principal,
    check_password,
    known_scopes,
    normal_email,
)
from domain.errors import Forbidden, Invalid


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("ada@example.com", "ada@example.com"),
        ("  Ada.Lovelace@Example.COM ", "ada.lovelace@example.com"),
        ("o'brien+shop@mail.example.co.uk", "o'brien+shop@mail.example.co.uk"),
        ("zoë@exämple.de", "zoë@exämple.de"),
    ],
)
def test_an_address_is_kept_in_lower_case(written: str, kept: str):
    assert normal_email(written) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@localhost",
        "ada@example.",
        "ada@.com",
        "ada@example..com",
        "ada@@example.com",
        "ada@example.com@example.com",
        "a da@example.com",
        "ada@exam ple.com",
        "ada\n@example.com",
        "ada\x00@example.com",
        "ada@example.com\nBcc: all@example.com",
        "a" * 65 + "@example.com",
        "ada@" + "a" * 250 + ".com",
    ],
)
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(Invalid) as refused:
        normal_email(text)
    assert refused.value.detail == {"reason": "email"}


def test_a_long_line_of_dots_is_refused_at_once():
    with pytest.raises(Invalid):
        normal_email("a@" + "a." * 200_000)


@pytest.mark.parametrize(
    ("password", "reason"),
    [("", "weak_password"), ("ninechars", "weak_password"), ("x" * 257, "long_password")],
)
def test_short_and_endless_passwords_are_refused(password: str, reason: str):
    with pytest.raises(Invalid) as refused:
        check_password(password)
    assert refused.value.detail["reason"] == reason


@pytest.mark.parametrize("password", ["ten chars!", "x" * 256, "pässwörter mit Umlaut"])
def test_other_passwords_are_taken(password: str):
    check_password(password)


def test_scopes_are_sorted_and_kept_once():
    assert known_scopes(["ops:write", "ops:read", "ops:write"]) == ["ops:read", "ops:write"]


def test_an_unknown_scope_is_named():
    with pytest.raises(Invalid) as refused:
        known_scopes(["ops:read", "root", "all"])
    assert refused.value.detail == {"reason": "unknown_scope", "scopes": ["all", "root"]}


def test_a_customer_has_known_scopes_and_nobody_elses():
    assert CUSTOMER_SCOPES < SCOPES
    assert not {"orders:price", "ops:read", "ops:write"} & CUSTOMER_SCOPES


def test_a_principal_may_what_its_scopes_say_whatever_its_role():
    principal = Principal("1", "ops", frozenset({"ops:read"}))
    principal.require("ops:read")
    with pytest.raises(Forbidden) as refused:
        principal.require("ops:write")
    assert refused.value.detail == {"scope": "ops:write"}


def test_what_judges_passwords_is_shown_few_signs_that_may_be_letters():
    signs = "4@8({[<369!1|0$5+7%2" * 4
    shown = _bounded(signs)
    assert len(shown) == JUDGED
    assert len(LEET & set(shown)) == MOST_LEET
    assert _bounded("Tr0ub4dour&3!") == "Tr0ub4dour&3!"
