"""Evidence: what anyone can check without trusting this service. See docs/evidence.md."""
