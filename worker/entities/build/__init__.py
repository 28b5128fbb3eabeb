"""Writes the alias table from the lists it is made of: `make aliases`. The extra `dev` has what this imports."""
