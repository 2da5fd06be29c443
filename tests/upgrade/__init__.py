"""Releases beside each other: upgrades, ways back, and what old code makes of a newer schema."""
