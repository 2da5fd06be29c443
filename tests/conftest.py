"""Shared by every test."""

pytest_plugins = ["tests.support.fixtures"]
