"""`make fault`: real processes, real signals, real servers, and `polyvox verify` at the end of each row."""
