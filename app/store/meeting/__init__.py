"""Where messages meet their receipts: the statements for PostgreSQL, the same rules for SQLite."""
