"""Webhooks: subscriptions to status changes, and their deliveries."""
