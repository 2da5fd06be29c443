"""The evidence log in the database: what it lacks, its facts, tiles and checkpoints."""
