"""The lookup journey: apps, support staff and auditors query messages and their histories."""
