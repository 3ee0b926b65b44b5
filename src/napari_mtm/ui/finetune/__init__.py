"""Fine-tuning in the window: what will be done, how it goes, what came of it."""
