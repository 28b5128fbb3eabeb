"""`python -m worker`: the same as the command `polyvox`."""

from __future__ import annotations

from worker.cli import app

if __name__ == "__main__":
    app(prog_name="polyvox")
