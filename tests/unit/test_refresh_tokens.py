"""Refresh tokens and throttles, as rules. No I/O."""

import pytest

from domain.accounts.refresh_tokens import RefreshToken, digest, new_salt
from domain.accounts.throttle import network_of
from domain.errors import Unauthenticated
from domain.ports import Delays
from domain.values import new_id


def test_a_token_is_read_as_it_was_written():
    token = RefreshToken.first(new_id())
    assert RefreshToken.read(str(token)) == token
    assert token.secret not in repr(token)


def test_the_next_token_follows_from_the_present_one_and_the_salt():
    token, salt = RefreshToken.first(new_id()), new_salt()
    following = token.next(salt)
    assert following == token.next(salt) == RefreshToken.read(str(following))
    assert (following.family, following.session_id) == (token.family, token.session_id)
    assert len({token.hash, following.hash, token.next(new_salt()).hash}) == 3


def test_a_token_that_was_replaced_catches_up():
    tokens, replaced = [RefreshToken.first(new_id())], []
    for _ in range(3):
        salt = new_salt()
        replaced.append({"hash": tokens[-1].hash, "salt": salt})
        tokens.append(tokens[-1].next(salt))
    for token in tokens[:-1]:
        assert token.caught_up(replaced) == tokens[-1]
    assert tokens[-1].caught_up(replaced) is None
    assert RefreshToken.first(new_id()).caught_up(replaced) is None
    assert tokens[0].caught_up(replaced[1:]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rt_",
        "hello",
        "rt_" + "a" * 36,
        f"rt_{new_id()}.short.short",
        f" {RefreshToken.first(new_id())}",
        "\ud800",
    ],
    ids=["nothing", "prefix", "word", "one-part", "short-parts", "space", "surrogate"],
)
def test_what_has_not_the_form_is_no_token(text: str):
    with pytest.raises(Unauthenticated):
        RefreshToken.read(text)


def test_a_digest_is_sha_256():
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_delays_double_up_to_the_longest():
    delays = Delays(free=3, first=1, longest=60, forget=3600)
    assert [delays.after(tries) for tries in (1, 3, 4, 5, 9, 10, 1000)] == [0, 0, 1, 2, 32, 60, 60]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", "somewhere"),
    ],
)
def test_an_address_of_ipv6_stands_for_its_network(address: str, network: str):
    assert network_of(address) == network
