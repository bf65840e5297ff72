"""What detectors have in common: readings, tails of distributions, windows and histograms."""
