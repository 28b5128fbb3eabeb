"""What the index and the shift detectors promise, measured on simulated and planted cases with fixed seeds."""
