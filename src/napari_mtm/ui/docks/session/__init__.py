"""What is open, and opening something else."""
