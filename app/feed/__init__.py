"""The feed of status changes: in pages, and as a live stream."""
