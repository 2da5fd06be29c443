"""A simulator of iovox: the same URL, XML, error texts and receipts, over real HTTP.

For development, tests and benchmarks on a loopback port; it trusts its callers. It shares no code
with the service, so that a misunderstanding of iovox's API cannot be the same on both sides.
"""
