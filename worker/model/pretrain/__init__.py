"""Continued pre-training on raw text: masked words and sentence pairs, in many languages."""
