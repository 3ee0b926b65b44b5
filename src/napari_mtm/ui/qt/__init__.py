"""Small parts that are about Qt alone."""
