"""The engine between a viewer and a model: the newest request wins."""
