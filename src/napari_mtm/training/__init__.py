"""Training: what a model learns from, and the loop that teaches it."""

NEW = "new"
"""Stands for the name of weights where a new model is begun."""
