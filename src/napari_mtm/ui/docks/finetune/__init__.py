"""A fine-tuning before, during and after, and the runs before it."""
