"""Our methods beside those of Avalanche and CapyMOA, on the same rows from the same weights."""
