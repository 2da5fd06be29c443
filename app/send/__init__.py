"""The first journey: an app posts a message, we record it, and iovox is asked to send it once."""
