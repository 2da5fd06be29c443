"""Erasures of a number: requests, the places where something is erased, confirmations of disks."""
