"""Training: what a model learns from, and the loop that teaches it."""
