"""The networks, what each session brings to them, and their weights in and out."""
