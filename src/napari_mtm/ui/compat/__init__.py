"""What napari and vispy leave undone."""
