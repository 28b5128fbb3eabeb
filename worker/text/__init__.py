"""Pure functions on the text of a post: what the model sees of it, and which language it is in."""
