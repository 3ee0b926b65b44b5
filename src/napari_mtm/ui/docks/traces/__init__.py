"""Behaviour, recorded and decoded."""
