"""Napari layers: the raster, the mask, and the pictures beside the raster."""
