"""The only package that knows iovox and XML: its client, and the headers of its callbacks."""
