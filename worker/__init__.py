"""polyvox: multilingual posts in, opinion one can act on out."""

__version__ = "0.1.0"
