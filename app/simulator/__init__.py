"""A stand-in iovox: the same URL, XML, error texts and receipts, over real HTTP.

For developers, tests and load runs on a loopback port; it trusts its caller and is no public
server. It shares no code with the service, so that a misreading of iovox cannot hide on both sides.
"""
