"""From environment variables to settings, for a process that shares them with those it starts."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic_settings import BaseSettings

from domain.settings import Settings


def groups() -> dict[str, type[BaseSettings]]:
    """The groups of settings, by the name that `Settings` has for each."""
    found: dict[str, Any] = {name: each.annotation for name, each in Settings.model_fields.items()}
    return found


def variables() -> dict[str, tuple[str, str]]:
    """Every variable that the settings know, with its group and field."""
    return {
        f"{kind.model_config.get('env_prefix', '')}{field}".upper(): (group, field)
        for group, kind in groups().items()
        for field in kind.model_fields
    }


def settings_of(environment: Mapping[str, str]) -> Settings:
    """The settings that a process reads which is started with `environment` on top of this one's.

    Raises pydantic.ValidationError.
    """
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        return Settings()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
