"""What the service costs, measured beside the usual ways. `make bench` runs it."""
