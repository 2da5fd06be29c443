"""The pages for people, on the same functions as the API: no other way to read or change."""
