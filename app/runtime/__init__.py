"""The composition root: what is configured, and everything built from it, started and stopped."""
