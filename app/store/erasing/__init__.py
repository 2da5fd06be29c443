"""Erasures: what is asked for and confirmed, and the places where something is erased."""
