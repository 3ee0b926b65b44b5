"""What is hidden, how well it is predicted, which model is asked."""
