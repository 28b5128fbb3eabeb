"""Counts days of the aggregates anew from `enriched` and `dead-letters`, and swaps them in; runs no inference."""
