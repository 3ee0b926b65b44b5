"""Everything that knows Qt or napari."""
