"""Small mechanisms that know nothing of texts."""
