"""The third journey: apps, support staff and auditors ask what became of a message."""
