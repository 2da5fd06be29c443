"""Connections to PostgreSQL and SQLite: how each is made, and the two pools that keep them."""
