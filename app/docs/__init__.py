"""The API's own documentation, served by us alone: a browser without the internet shows it."""
