"""What lies around napari's canvas and on it, and what mouse and keys do there."""
