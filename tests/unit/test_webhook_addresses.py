"""Where webhooks may go."""

import pytest

from domain.adapters.webhook_addresses import is_public

PUBLIC = [
    "1.1.1.1", "93.184.215.14", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0",
    "223.255.255.1",    "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "64:ff9b::101:101",
]  # fmt: skip
INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",  # noqa: S104
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:1.1.1.1", "::7f00:1", "::ffff:0:7f00:1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::101:101", "100::1", "2001::1", "2001:2::1",
    "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "2002:101:101::1", "3fff::1", "5f00::1",
    "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1",
    "ff0e::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_reached(address: str):
    assert is_public(address)


@pytest.mark.parametrize("address", INSIDE)
def test_nothing_else_is(address: str):
    assert not is_public(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "1", "0x7f.1", "127.1", "2130706433", "01.02.03.04", "[::1]"]
)
def test_what_is_no_address_is_not_public(text: str):
    assert not is_public(text)
    assert not is_public(text, loopback=True)


def test_this_host_is_reached_where_that_is_allowed_and_no_other_inside():
    allowed = [each for each in INSIDE if is_public(each, loopback=True)]
    assert allowed == ["127.0.0.1", "127.255.255.254", "::1"]
    assert not is_public("::1%lo", loopback=True)
