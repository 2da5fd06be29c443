"""The settings, as the commands that work on the database read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app import settings
from app.errors import ConfigurationError
from app.settings import Settings, SettingsError


def load() -> Settings:
    """The environment's settings. Raises ConfigurationError that names each that is at fault."""
    with settings_errors():
        return settings.load()


def erasure_key(configured: Settings) -> bytes | None:
    """The key of erasures' digests; None where none is set. Raises ConfigurationError."""
    with settings_errors():
        return settings.erasure_key(configured)


@contextmanager
def settings_errors() -> Iterator[None]:
    """Turn a SettingsError into the ConfigurationError that the command explains."""
    try:
        yield
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None
