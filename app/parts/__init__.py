"""Generic mechanisms without knowledge of the domain."""
