"""The domain model that all journeys share: pure values and rules, no I/O, no framework."""
