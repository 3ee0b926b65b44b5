"""How well a model fills what is hidden, and what simpler predictors reach."""
