"""What groups of settings are made of."""

from base64 import b64decode
from typing import Any

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from domain.values import parse_duration

#: Bytes of the shortest secret that webhooks are signed with.
SHORTEST_SECRET = 16
#: An origin as browsers write it, or all of them. None is `null`, which any page can be.
ORIGIN = r"^(\*|https?://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?)$"


def duration(text: str) -> Any:
    """A field whose default is written as in the environment: `duration("15m")`."""
    return Field(default=parse_duration(text))


def webhook_secret(secret: SecretStr) -> SecretStr:
    """The secret, in the form of Standard Webhooks. Raises ValueError where it is short, or no base64."""
    try:
        key = b64decode(secret.get_secret_value().removeprefix("whsec_") + "==")
    except ValueError:
        key = b""
    if len(key) < SHORTEST_SECRET:
        msg = f"a webhook's secret is {SHORTEST_SECRET} bytes or more in base64"
        raise ValueError(msg)
    return secret


def sealing_key(key: SecretStr) -> SecretStr:
    """A key of Fernet. Raises ValueError where it is none."""
    try:
        Fernet(key.get_secret_value())
    except ValueError:
        msg = "a key has 32 bytes in URL-safe base64"
        raise ValueError(msg) from None
    return key


def config(group: str) -> SettingsConfigDict:
    """Reads `STOCKYARD_<GROUP>_<NAME>` from the environment, else from `.env`."""
    return SettingsConfigDict(
        env_prefix=f"STOCKYARD_{group}_".replace("__", "_"),
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )
