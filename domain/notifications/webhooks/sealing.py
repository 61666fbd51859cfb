"""Secrets of endpoints as they are stored: encrypted, where there is a key."""

from collections.abc import Iterable

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from domain.errors import TryAgain
from domain.notifications.webhooks.rules import PATIENCE, SECRET_PREFIX

#: Seconds after which a process that lacks the key looks again: somebody has to give it to it.
NO_KEY = 60.0


class Sealing:
    """Encrypts with the first key, decrypts with any. Without keys secrets are stored as they are."""

    def __init__(self, keys: Iterable[str]) -> None:
        known = [Fernet(key) for key in keys]
        self._keys = MultiFernet(known) if known else None

    def seal(self, secret: str) -> str:
        """What is stored of the secret."""
        return self._keys.encrypt(secret.encode()).decode() if self._keys else secret

    def open(self, stored: str) -> str:
        """The secret. Raises TryAgain where it was encrypted with a key that this process does not have."""
        if stored.startswith(SECRET_PREFIX):
            return stored
        try:
            if self._keys is not None:
                return self._keys.decrypt(stored).decode()
        except InvalidToken:
            pass
        raise TryAgain("no key for the endpoint's secret", seconds=NO_KEY, patience=PATIENCE)
