"""How fast polyvox is, beside what it is made of; `python -m bench` runs all of it and writes docs/performance.md."""
