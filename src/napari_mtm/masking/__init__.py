"""Masks: what is kept from the model, and which of the paper's tasks that is."""
