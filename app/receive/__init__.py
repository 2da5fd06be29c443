"""The second journey: iovox posts a receipt, we put it on durable storage, and only then answer."""
