"""Server processes and their connections: uvicorn's, with what `/dlr` needs besides."""
