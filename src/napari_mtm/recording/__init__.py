"""Sessions and where they come from: reading, binning, the store, the simulated world."""
