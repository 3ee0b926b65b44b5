"""Measurements against a stated reference in the same run, as JSON."""
