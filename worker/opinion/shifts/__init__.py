"""From a series of index values to the few shifts that are worth an alert."""
