"""Where a request comes from, as far as it says."""

import re

from fastapi import Request

from domain.accounts.sessions import Device
from domain.bootstrap import Services

#: An address of IPv4 with a port, and one of IPv6, which stands in brackets where it has one.
_WITH_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+|\[([0-9A-Fa-f:.%]+)\](?::\d+)?")
#: Characters of a User-Agent that are kept.
LONGEST = 200


def device_of(request: Request, name: str | None = None) -> Device:
    """The device, by the `name` that its owner gave it."""
    agent = request.headers.get("user-agent", "")[:LONGEST]
    printable = "".join(each if each.isprintable() else " " for each in agent)
    return Device(address=address_of(request), user_agent=printable, name=name)


def address_of(request: Request) -> str:
    """The client's address: who is connected, or who the settings' proxies say was.

    Each proxy adds the address that it was called from at the end of `X-Forwarded-For`; what stands before
    that is the client's own saying.
    """
    services: Services = request.app.state.services
    hops = services.settings.api.proxies
    said = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    if hops and len(said) >= hops and said[-hops].strip():
        return _host(said[-hops].strip())[:64]
    return request.client.host if request.client is not None else ""


def _host(said: str) -> str:
    """The address without the port that some proxies add: each connection has another one."""
    found = _WITH_PORT.fullmatch(said)
    return (found[1] or found[2]) if found is not None else said
