"""One unit: averages, trials, scores."""
