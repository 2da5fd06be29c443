"""Care of what is known: the journal, and what the database has forgotten brought back from it."""
