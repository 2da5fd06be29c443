"""What the routes share: the caller, request bodies, query parameters, problems, the document."""
