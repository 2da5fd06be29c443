"""What the service is measured against, each written as its own framework's tutorial would.

They run as the service does: one uvicorn worker on uvloop and httptools, without an access log.
"""
