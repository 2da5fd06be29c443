"""Alarms: raised from what all processes report, told by log, API, metrics and webhooks."""
