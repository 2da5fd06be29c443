"""All settings, in one frozen and validated object, from environment variables DLR_*.

Used by `main`, `runtime` and `cli` only; all other modules get plain arguments.
"""

from app.settings.fields import FILE, NEEDED_TO_SERVE, PREFIX, SECRETS, Settings, variable
from app.settings.reading import (
    SettingsError,
    erasure_key,
    load,
    read,
    read_secrets_again,
    report,
)
from app.settings.spelling import unknown_variables

__all__ = [
    "FILE",
    "NEEDED_TO_SERVE",
    "PREFIX",
    "SECRETS",
    "Settings",
    "SettingsError",
    "erasure_key",
    "load",
    "read",
    "read_secrets_again",
    "report",
    "unknown_variables",
    "variable",
]
