"""iovox-receipts: sends texts through iovox and knows, provably, what became of each one."""
