"""Verbs of the memory store: one file each, what they share in `options`."""
