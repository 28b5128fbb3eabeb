"""From counts of labels to a sentiment index that says how sure it is."""
