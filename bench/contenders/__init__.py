"""One contender a file: what `python -m bench.contenders.<name> <job>` runs, to its end."""
