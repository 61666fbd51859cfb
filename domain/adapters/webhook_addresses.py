"""Which addresses webhooks may go to: those of the public internet. Pure."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

#: The only IPv6 that is the public internet (RFC 4291); what is reserved within it is listed below.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_THIS_HOST = IPv6Address("::1")
#: IPv4 within IPv6, for hosts without IPv4 (RFC 6052): good where the address within is.
_NAT64 = IPv6Network("64:ff9b::/96")
#: Reserved, although some versions of `ipaddress` take it for global.
_RESERVED_4 = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),  # anycast to relays of 6to4
)
_RESERVED_6 = (
    IPv6Network("2001::/23"),  # Teredo, ORCHID, benchmarks
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),  # 6to4: IPv4 within IPv6, which a relay unpacks
    IPv6Network("3fff::/20"),
)


def is_public(address: str, *, loopback: bool = False) -> bool:
    """Whether the address, in text form, is one of the public internet; with `loopback`, or of this host.

    Neither is one with a zone, and no text that is no address.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return (loopback and found.is_loopback) or _public_4(found)
    return (loopback and found == _THIS_HOST) or _public_6(found)


def _public_4(address: IPv4Address) -> bool:
    if any(address in network for network in _RESERVED_4):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return _public_4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _GLOBAL_UNICAST or any(address in network for network in _RESERVED_6):
        return False
    return address.is_global and not address.is_multicast
