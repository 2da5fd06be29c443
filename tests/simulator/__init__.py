"""The simulator, tested over real HTTP, with a real receiver of receipts."""
