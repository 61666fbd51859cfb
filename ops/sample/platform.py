"""What a platform that is just up needs to be tried: a catalogue, an ops account and a customer."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from domain.accounts.service import Accounts
from domain.bootstrap import Services, open_services
from domain.errors import EmailTaken, Unauthenticated
from domain.observe import configure_logging
from domain.settings import Log, Settings
from domain.values import Money
from ops.sample.northwind import CURRENCY, Northwind

#: Email address and password of the sample accounts, by role.
Logins = dict[str, dict[str, str]]


def prepare(settings: Settings, file: Path) -> str:
    """Idempotent. The Northwind catalogue where there is none, and two accounts; the customer's token.

    Keeps the passwords that it makes up in `file`, for its owner only.
    """
    configure_logging(Log(format="console", level="WARNING"))
    known: Logins = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    logins, token = asyncio.run(_prepare(settings, known))
    file.touch(mode=0o600)
    file.write_text(json.dumps(logins, indent=2) + "\n", encoding="utf-8")
    return token


async def _prepare(settings: Settings, known: Logins) -> tuple[Logins, str]:
    async with open_services(settings) as services:
        if await services.products.is_empty():
            await _load(services)
        roles = ("ops", "customer")
        logins = {role: await _account(services.accounts, role, known.get(role)) for role in roles}
        customer = logins["customer"]
        token = await services.accounts.log_in(customer["email"], customer["password"])
        return logins, token.token


async def _load(services: Services) -> None:
    for product in Northwind().products:
        price = Money(amount=product.price, currency=CURRENCY)
        await services.inventory.introduce(
            sku=product.sku, name=product.name, price=price, category=product.category
        )
        if product.stock:
            await services.inventory.adjust(
                sku=product.sku,
                quantity=product.stock,
                reason="opening stock",
                actor="sample",
                key=f"sample:{product.sku}",
            )


async def _account(accounts: Accounts, role: str, known: Mapping[str, str] | None) -> dict[str, str]:
    """The account whose password is known, if it is still there; else a new one."""
    if known is not None:
        try:
            await accounts.log_in(known["email"], known["password"])
        except Unauthenticated:
            pass
        else:
            return dict(known)
    create = accounts.create_ops if role == "ops" else accounts.register
    email, password = f"{role}@stockyard.example", secrets.token_urlsafe(18)
    try:
        await create(email, password)
    except EmailTaken:
        # Its password is lost.
        email = f"{role}-{secrets.token_hex(4)}@stockyard.example"
        await create(email, password)
    return {"email": email, "password": password}
