"""Prometheus' own checker; the tests that need it are skipped, in words, where it is not."""

from __future__ import annotations

import shutil

import pytest


def promtool() -> str:
    """Where it is."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here: it comes with Debian's package `prometheus`")
    return found
