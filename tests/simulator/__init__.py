"""The simulator, spoken to over real HTTP and answering to a real receiver."""
