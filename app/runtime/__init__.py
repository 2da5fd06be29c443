"""The composition root: what is configured, and everything built from it, started and stopped."""

from app.runtime.runtime import COMPONENTS_SHARE, Runtime

__all__ = ["COMPONENTS_SHARE", "Runtime"]
