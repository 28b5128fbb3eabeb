"""`make bench-scale`: what grows with workers, partitions and posts, and what a large installation needs."""
