"""A simulated world of animals that share one brain and differ in everything else."""
