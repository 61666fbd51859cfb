"""Secrets of endpoints as they are stored."""

import pytest
from cryptography.fernet import Fernet

from domain.errors import TryAgain
from domain.notifications.webhooks.rules import new_secret
from domain.notifications.webhooks.sealing import Sealing

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


def test_a_secret_is_encrypted_and_read_again_while_its_key_is_known():
    secret = new_secret()
    sealed = Sealing([OLD]).seal(secret)
    assert secret not in sealed
    assert Sealing([OLD]).open(sealed) == Sealing([NEW, OLD]).open(sealed) == secret
    assert Sealing([NEW]).open(Sealing([NEW, OLD]).seal(secret)) == secret


def test_without_a_key_secrets_are_stored_as_they_are_and_read_once_there_is_one():
    secret = new_secret()
    assert Sealing([]).seal(secret) == secret
    assert Sealing([NEW]).open(secret) == secret


def test_a_process_without_the_key_waits_for_it():
    sealed = Sealing([OLD]).seal(new_secret())
    for sealing in (Sealing([]), Sealing([NEW])):
        with pytest.raises(TryAgain) as waits:
            sealing.open(sealed)
        assert sealed not in str(waits.value)
