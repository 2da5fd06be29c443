"""Pages of messages: from which indexes the candidates come, and which of them pass."""
