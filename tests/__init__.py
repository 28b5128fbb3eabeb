"""The tests of polyvox."""
