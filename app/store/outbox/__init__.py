"""What is to be delivered to webhooks: filled from the log of events, claimed, settled, listed."""
