"""Telling those who asked to be told: the event feed, the live stream, and webhooks."""
